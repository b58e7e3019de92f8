"""Where tensors lie in the scratchpads: places, and the allocator that hands them out."""

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from moesaic.dataflow.scoreboard import Span
from moesaic.models.accel import AccelSpec
from moesaic.models.commands import Buffer
from moesaic.models.errors import InputError
from moesaic.models.geometry import TOKENS, geometry, narrow_word

NAMES = {buffer: buffer.name for buffer in Buffer}  # an enumeration's own way is slow


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """A tensor's words in one scratchpad, and where in a token's words each channel lies.

    Token ``t`` is in bank ``t % tokens_per_beat`` and begins at word ``base + t //
    tokens_per_beat * pitch``; `channels` holds the position of each channel from there.
    """

    buffer: Buffer
    base: int
    pitch: int
    rows: int
    width: int
    channels: NDArray[np.int64]

    @property
    def span(self) -> Span:
        """Scratchpad by name, first word, end: what the scoreboard takes."""
        return NAMES[self.buffer], self.base, self.base + self.rows * self.pitch


def ceil_div(a: int, b: int) -> int:
    """Divide and round up."""
    return -(-a // b)


def head_channels(heads: int, head_channels: int, step: int) -> NDArray[np.int64]:
    """Return positions of channels where each head begins at a multiple of `step`."""
    padded = ceil_div(head_channels, step) * step
    return (np.arange(heads)[:, None] * padded + np.arange(head_channels)).ravel()


@dataclass(slots=True, kw_only=True)
class Scratch:
    """Allocator of all scratchpads: next fit, so that places are reused as late as possible."""

    spec: AccelSpec
    depths: dict[Buffer, int] = field(init=False)
    live: dict[Buffer, list[tuple[int, int]]] = field(default_factory=dict)
    cursor: dict[Buffer, int] = field(default_factory=dict)
    peak: dict[Buffer, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.depths = {buffer: geometry(self.spec, buffer).depth for buffer in TOKENS}

    def place(
        self,
        buffer: Buffer,
        tokens: int,
        width: int,
        *,
        what: str,
        channels: NDArray[np.int64] | None = None,
    ) -> Place:
        """Give a tensor of `tokens` by `width` values a place, or refuse with one line."""
        found = self.try_place(buffer, tokens, width, channels=channels)
        if found is None:
            name = f"{buffer.name.lower()}_words"
            rows = ceil_div(tokens, self.spec.tokens_per_beat)
            need = rows * ceil_div(width, narrow_word(self.spec, buffer))
            used = sum(stop - start for start, stop in self.live.get(buffer, []))
            raise InputError(
                f"{name} must be at least {used + need} for {what} ({need} words beside {used} "
                f"in use), not {self.depths[buffer]}"
            )
        return found

    def try_place(
        self,
        buffer: Buffer,
        tokens: int,
        width: int,
        *,
        channels: NDArray[np.int64] | None = None,
    ) -> Place | None:
        """Return a place, None where there is no room."""
        rows = ceil_div(tokens, self.spec.tokens_per_beat)
        pitch = ceil_div(width, narrow_word(self.spec, buffer))
        base = self._find(buffer, rows * pitch)
        if base is None:
            return None
        taken = self.live.setdefault(buffer, [])
        taken.append((base, base + rows * pitch))
        taken.sort()
        self.cursor[buffer] = base + rows * pitch
        used = sum(stop - start for start, stop in taken)
        self.peak[buffer] = max(self.peak.get(buffer, 0), used)
        return Place(
            buffer=buffer,
            base=base,
            pitch=pitch,
            rows=rows,
            width=width,
            channels=np.arange(width) if channels is None else channels,
        )

    def free(self, place: Place) -> None:
        """Give a place back."""
        _, start, stop = place.span
        self.live[place.buffer].remove((start, stop))

    def _find(self, buffer: Buffer, words: int) -> int | None:
        depth = self.depths[buffer]
        taken = self.live.get(buffer, [])
        gaps, start = [], 0
        for first, stop in (*taken, (depth, depth)):
            if first - start >= words:
                gaps.append((start, first))
            start = stop
        cursor = self.cursor.get(buffer, 0)
        for first, stop in gaps:
            at = max(first, cursor)
            if stop - at >= words:
                return at
        return gaps[0][0] if gaps else None
