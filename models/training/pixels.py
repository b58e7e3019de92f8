"""Pixels of images as rows of a matrix: grids laid over them, and a convolution's geometry.

An image of `height` by `width` pixels is that many rows of a tensor, line by line; the next image
is behind it. So a convolution is products, one for each kernel position (tap), whose rows are
those of a grid (He et al. 2016 and all others: ``y[p] = sum over taps of x[p * stride + d] W_d``).
"""

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, slots=True, kw_only=True)
class Pixels:
    """A grid of `height` by `width` pixels over each image of `in_height` by `in_width` rows.

    Pixel (y, x) stands for the place ``(y0 + y * stride, x0 + x * stride)`` of the image. Outside
    it operands are zero; products alone may read there.
    """

    height: int
    width: int
    in_height: int
    in_width: int
    y0: int = 0
    x0: int = 0
    stride: int = 1

    @property
    def rows(self) -> int:
        """Pixels in the grid of one image."""
        return self.height * self.width

    @property
    def area(self) -> int:
        """Rows of one image of the tensor."""
        return self.in_height * self.in_width

    @property
    def inside(self) -> bool:
        """Whether the whole grid lies within the image."""
        last_y = self.y0 + (self.height - 1) * self.stride
        last_x = self.x0 + (self.width - 1) * self.stride
        high, wide = 0 <= self.y0 <= last_y < self.in_height, 0 <= self.x0 <= last_x < self.in_width
        return high and wide

    def part(self, *, y: int, height: int, x: int, width: int) -> "Pixels":
        """Return some lines and columns of the grid, counted in its own pixels."""
        return replace(
            self,
            height=height,
            width=width,
            y0=self.y0 + y * self.stride,
            x0=self.x0 + x * self.stride,
        )

    def places(self, images: int) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
        """Return the row of each pixel, image by image and line by line, and which are outside.

        Rows count from the first image's first; those outside are 0.
        """
        image, y, x = np.indices((images, self.height, self.width)).reshape(3, -1)
        y, x = self.y0 + y * self.stride, self.x0 + x * self.stride
        outside = (y < 0) | (y >= self.in_height) | (x < 0) | (x >= self.in_width)
        return np.where(outside, 0, (image * self.in_height + y) * self.in_width + x), outside


def plain(height: int, width: int) -> Pixels:
    """Return the grid of all pixels."""
    return Pixels(height=height, width=width, in_height=height, in_width=width)


@dataclass(frozen=True, slots=True, kw_only=True)
class Geometry:
    """A convolution of `images` images of `height` by `width`, with zeros around.

    The padding is ``kernel // 2``, so an image comes out as ``ceil(height / stride)`` lines.
    """

    images: int
    height: int
    width: int
    kernel: int = 3
    stride: int = 1

    @property
    def out_height(self) -> int:
        """Lines that come out."""
        return -(-self.height // self.stride)

    @property
    def out_width(self) -> int:
        """Pixels of a line that come out."""
        return -(-self.width // self.stride)

    @property
    def rows(self) -> int:
        """Pixels of all images that go in."""
        return self.images * self.height * self.width

    @property
    def out_rows(self) -> int:
        """Pixels of all images that come out."""
        return self.images * self.out_height * self.out_width

    @property
    def taps(self) -> list[tuple[int, int]]:
        """Offset (dy, dx) of each kernel position, row by row."""
        reach = range(-(self.kernel // 2), self.kernel - self.kernel // 2)
        return [(dy, dx) for dy in reach for dx in reach]

    def read_by(self, tap: tuple[int, int]) -> Pixels:
        """Return the input's pixels that a tap reads, one for each of the output."""
        return Pixels(
            height=self.out_height,
            width=self.out_width,
            in_height=self.height,
            in_width=self.width,
            y0=tap[0],
            x0=tap[1],
            stride=self.stride,
        )

    @property
    def phases(self) -> list[Pixels]:
        """Grids of the input's pixels with one place within a stride each; one with stride 1."""
        s = self.stride
        return [
            Pixels(
                height=-(-(self.height - y) // s),
                width=-(-(self.width - x) // s),
                in_height=self.height,
                in_width=self.width,
                y0=y,
                x0=x,
                stride=s,
            )
            for y in range(min(s, self.height))
            for x in range(min(s, self.width))
        ]

    def taps_of(self, phase: Pixels) -> list[tuple[int, Pixels]]:
        """Return the taps by which a phase's pixels went into the output: number, output's pixels.

        ``y_in = y_out * stride + dy``, so ``y_out = (y_in - dy) / stride`` where that is whole. A
        phase that no tap reads has one tap, wholly outside: its gradient is zero.
        """
        found = []
        for number, (dy, dx) in enumerate(self.taps):
            y, x = phase.y0 - dy, phase.x0 - dx
            if y % self.stride or x % self.stride:
                continue
            found.append((number, self._out(phase, y // self.stride, x // self.stride)))
        return found or [(0, self._out(phase, self.out_height, 0))]

    def _out(self, phase: Pixels, y: int, x: int) -> Pixels:
        return Pixels(
            height=phase.height,
            width=phase.width,
            in_height=self.out_height,
            in_width=self.out_width,
            y0=y,
            x0=x,
        )
