"""Whose tensors lie where: image by image, and side by side where a product takes all images."""

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from moesaic.dataflow.scoreboard import Span
from moesaic.dataflow.scratch import Place, Scratch, ceil_div
from moesaic.models.commands import Buffer


@dataclass(frozen=True, slots=True, kw_only=True)
class _Block:
    """Places of one shape for all images, one after another without a gap."""

    whole: Place
    images: tuple[Place, ...]


class Places:
    """Places of a batch's tensors, by name.

    Names mean the tensors of the present `image`; with None those of all images at once, which were
    given places `together`. A place goes back to the allocator when no tensor lies there any more.

    Parameters
    ----------
    scratch : Scratch
    images : int
        Images of the batch.
    """

    def __init__(self, scratch: Scratch, images: int) -> None:
        self.scratch, self.images = scratch, images
        self.image: int | None = 0
        self._where: dict[tuple[str, int | None], Place] = {}
        self._names: dict[Span, set[str]] = {}  # tensors that lie there, or soon will
        self._blocks: dict[Span, _Block] = {}  # by the place of each image

    def __contains__(self, name: str) -> bool:
        return (name, self.image) in self._where or self._everywhere(name)

    def __getitem__(self, name: str) -> Place:
        if self._everywhere(name):
            first = self._where[name, 0]
            return replace(self._blocks[first.span].whole, channels=first.channels)
        return self._where[name, self.image]

    def __setitem__(self, name: str, place: Place) -> None:
        block = None
        if self.image is None:
            block = next((b for b in self._blocks.values() if b.whole.span == place.span), None)
        if block is None:
            self._where[name, self.image] = place
            self._names.setdefault(place.span, set()).add(name)
            return
        for image, its in enumerate(block.images):
            self._where[name, image] = replace(its, channels=place.channels)
            self._names[its.span].add(name)

    def give(
        self,
        buffer: Buffer,
        tokens: int,
        width: int,
        *,
        what: str,
        channels: NDArray[np.int64] | None = None,
        together: bool = False,
    ) -> Place:
        """Give the tensor `what` a place; `together`, all images' places are side by side.

        A tensor that was given a place together with others' takes that of an earlier one of its
        shape, if that one is gone.
        """
        image = self.image
        if not together or self.images == 1 or image is None:
            return self.scratch.place(buffer, tokens, width, what=what, channels=channels)
        rows = ceil_div(tokens, self.scratch.spec.tokens_per_beat)
        block = self._block(buffer, rows, width, image, what)
        place = block.images[image]
        if self._names[place.span] != {what}:
            raise RuntimeError(f"{what}: image {image} differs from those before it")
        return place if channels is None else replace(place, channels=channels)

    def release(self, name: str) -> None:
        """Take a tensor away from its place."""
        found = (name, self.image) in self._where
        for image in (self.image,) if found else range(self.images):
            place = self._where.pop((name, image))
            names = self._names[place.span]
            names.discard(name)
            if not names:
                self._free(place)

    def _everywhere(self, name: str) -> bool:
        """Whether a name means the tensors of all images, side by side."""
        return self.image is None and (name, None) not in self._where and (name, 0) in self._where

    def _block(self, buffer: Buffer, rows: int, width: int, image: int, what: str) -> _Block:
        """Return the block that the first image found, or one whose place is free, or a new one."""
        for block in self._blocks.values():
            place = block.images[image]
            names = self._names[place.span]
            shape = (place.buffer, place.rows, place.width)
            if what in names or (shape == (buffer, rows, width) and not names):
                break
        else:
            block = self._new_block(buffer, rows, width, what)
        if what not in self._names[block.images[image].span]:
            for place in block.images:
                self._names[place.span].add(what)
        return block

    def _new_block(self, buffer: Buffer, rows: int, width: int, what: str) -> _Block:
        tokens = self.images * rows * self.scratch.spec.tokens_per_beat
        whole = self.scratch.place(buffer, tokens, width, what=what)
        step = rows * whole.pitch
        places = tuple(
            replace(whole, rows=rows, base=whole.base + i * step) for i in range(self.images)
        )
        block = _Block(whole=whole, images=places)
        for place in places:
            self._blocks[place.span] = block
            self._names[place.span] = set()
        return block

    def _free(self, place: Place) -> None:
        block = self._blocks.get(place.span)
        if block is None:
            del self._names[place.span]
            self.scratch.free(place)
        elif not any(self._names[its.span] for its in block.images):
            for its in block.images:
                del self._names[its.span], self._blocks[its.span]
            self.scratch.free(block.whole)
