"""Strips of a convolution: whole images, or some lines of one with the lines that they read."""

from collections.abc import Iterator
from dataclasses import dataclass

from moesaic.models.training.layer_shapes import LayerShape
from moesaic.models.training.pixels import Pixels


@dataclass(frozen=True, slots=True, kw_only=True)
class Strip:
    """Lines ``[first, last)`` of the results of images from `image` on, and what belongs to them.

    The lines of the input that it owns, ``[own, own_end)``, are those whose gradient it gives;
    it reads input lines ``[x_first, x_last)`` and, for that gradient, result lines
    ``[g_first, g_last)``, which hold its own.
    """

    layer: LayerShape
    image: int
    images: int
    first: int
    last: int

    @property
    def before(self) -> int:
        """Zeros in front of a line."""
        return self.layer.kernel // 2 if self.layer.padded else 0

    @property
    def x_first(self) -> int:
        """First line of the input that the results read."""
        return max(0, self.first * self.layer.stride - self.before)

    @property
    def x_last(self) -> int:
        """Line of the input behind the last that the results read."""
        layer = self.layer
        return min(layer.size, (self.last - 1) * layer.stride - self.before + layer.kernel)

    @property
    def own(self) -> int:
        """First line of the input whose gradient is wanted."""
        return self.first * self.layer.stride

    @property
    def own_end(self) -> int:
        """Line of the input behind the last whose gradient is wanted."""
        layer = self.layer
        return layer.size if self.last == layer.out_size else self.last * layer.stride

    @property
    def g_first(self) -> int:
        """First line of the results' gradient that is read."""
        reach = self.layer.kernel - 1 - self.before
        return min(self.first, max(0, -(-(self.own - reach) // self.layer.stride)))

    @property
    def g_last(self) -> int:
        """Line of the results' gradient behind the last that is read."""
        last = (self.own_end - 1 + self.before) // self.layer.stride + 1
        return max(self.last, min(self.layer.out_size, last))

    @property
    def x_rows(self) -> int:
        """Pixels of the input that are read."""
        return self.images * (self.x_last - self.x_first) * self.layer.size

    @property
    def y_rows(self) -> int:
        """Pixels that come out."""
        return self.images * (self.last - self.first) * self.layer.out_size

    @property
    def g_rows(self) -> int:
        """Pixels of the results' gradient that are read."""
        return self.images * (self.g_last - self.g_first) * self.layer.out_size

    @property
    def own_rows(self) -> int:
        """Pixels of the input whose gradient comes out."""
        return self.images * (self.own_end - self.own) * self.layer.size

    @property
    def g_own(self) -> int:
        """Row of the gradient with which the strip's own results begin; whole images have all."""
        return (self.first - self.g_first) * self.layer.out_size

    @property
    def taps(self) -> list[tuple[int, int]]:
        """Offset (dy, dx) of each kernel position, row by row."""
        reach = range(-self.before, self.layer.kernel - self.before)
        return [(dy, dx) for dy in reach for dx in reach]

    def read_by(self, tap: tuple[int, int]) -> Pixels:
        """Return the pixels of the input that a tap reads, one for each result."""
        layer = self.layer
        return Pixels(
            height=self.last - self.first,
            width=layer.out_size,
            in_height=self.x_last - self.x_first,
            in_width=layer.size,
            y0=self.first * layer.stride + tap[0] - self.x_first,
            x0=tap[1],
            stride=layer.stride,
        )

    @property
    def phases(self) -> list[Pixels]:
        """Grids of the owned pixels with one place within a stride each."""
        layer, lines = self.layer, self.own_end - self.own
        return [
            Pixels(
                height=-(-(lines - y) // layer.stride),
                width=-(-(layer.size - x) // layer.stride),
                in_height=lines,
                in_width=layer.size,
                y0=y,
                x0=x,
                stride=layer.stride,
            )
            for y in range(layer.stride)
            for x in range(layer.stride)
        ]

    def taps_of(self, phase: Pixels) -> Iterator[tuple[int, Pixels]]:
        """Yield the taps by which a phase's pixels went into results: number, results' pixels."""
        layer = self.layer
        for number, (dy, dx) in enumerate(self.taps):
            y, x = self.own + phase.y0 - dy, phase.x0 - dx
            if y % layer.stride or x % layer.stride:
                continue
            yield (
                number,
                Pixels(
                    height=phase.height,
                    width=phase.width,
                    in_height=self.g_last - self.g_first,
                    in_width=layer.out_size,
                    y0=y // layer.stride - self.g_first,
                    x0=x // layer.stride,
                ),
            )


def strips(layer: LayerShape, batch: int, most: int) -> list[Strip]:
    """Cut a convolution's batch into strips of at most `most` results, one line at least."""
    area = layer.out_size**2
    if most >= area:
        step = min(batch, most // area)
        return [
            Strip(layer=layer, image=i, images=min(step, batch - i), first=0, last=layer.out_size)
            for i in range(0, batch, step)
        ]
    lines = max(1, most // layer.out_size)
    return [
        Strip(layer=layer, image=i, images=1, first=y, last=min(y + lines, layer.out_size))
        for i in range(batch)
        for y in range(0, layer.out_size, lines)
    ]
