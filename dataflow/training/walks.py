"""Rows that are pixels, lowered: walks of products, lines of passes, and products cut in parts."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from moesaic.models.commands import Command
from moesaic.models.errors import InputError
from moesaic.models.training.commands import pixel_walk, steps
from moesaic.models.training.pixels import Pixels, plain
from moesaic.models.training.step import Product, Ref


@dataclass(frozen=True, slots=True, kw_only=True)
class Cut:
    """Some rows of a product: `rows` from `first` on; of a grid, images, lines and columns."""

    first: int
    rows: int
    image: int = 0
    images: int = 1
    y: int = 0
    height: int = 0
    x: int = 0
    width: int = 0

    def of(self, ref: Ref) -> Ref:
        """Return these rows of a part."""
        grid = ref.pixels
        if grid is None:
            return replace(ref, row=ref.row + self.first * ref.step, rows=self.rows)
        return replace(
            ref,
            row=ref.row + self.image * grid.area,
            rows=self.rows,
            pixels=grid.part(y=self.y, height=self.height, x=self.x, width=self.width),
        )


def cuts(rows: int, grid: Pixels | None, most: int) -> Iterator[Cut]:
    """Cut rows into parts of at most `most`, each a grid itself: images, else lines, else columns.

    Parameters
    ----------
    rows : int
        Of all images.
    grid : Pixels, optional
        Over each image; None where the rows are no pixels.
    most : int
    """
    if grid is None:
        for first in range(0, rows, most):
            yield Cut(first=first, rows=min(most, rows - first))
        return
    images = rows // grid.rows
    height, width = grid.height, grid.width
    sizes = (max(1, most // grid.rows), min(height, max(1, most // width)), min(width, most))
    for image in range(0, images, sizes[0]):
        for y in range(0, height, sizes[1]):
            for x in range(0, width, sizes[2]):
                count = min(sizes[0], images - image)
                high, wide = min(sizes[1], height - y), min(sizes[2], width - x)
                yield Cut(
                    first=(image * height + y) * width + x,
                    rows=count * high * wide,
                    image=image,
                    images=count,
                    y=y,
                    height=high,
                    x=x,
                    width=wide,
                )


def in_grids(op: Product) -> Product:
    """Return a product whose streamed rows and results are all pixels, or none of them are."""
    refs = [*(term.left for term in op.terms), op.out]
    grids = {(r.pixels.height, r.pixels.width) for r in refs if r.pixels is not None}
    if not grids:
        return op
    if len(grids) > 1:
        raise ValueError(f"{op.name}: rows must be of one grid, not {sorted(grids)}")
    [(height, width)] = grids

    def gridded(ref: Ref) -> Ref:
        if ref.pixels is not None:
            return ref
        if ref.step != 1:
            raise ValueError(f"{op.name}: {ref.tensor.name}'s rows must follow each other")
        return replace(ref, pixels=plain(height, width))

    terms = tuple(replace(term, left=gridded(term.left)) for term in op.terms)
    return replace(op, terms=terms, out=gridded(op.out))


def walk_fields(ref: Ref, base: int, pitch: int) -> Command:
    """Return the fields of a walk through a part of a tensor whose words begin with `base`."""
    first, grid = base + ref.row * pitch, ref.pixels
    if grid is None:
        return {"base": first, "pitch": pitch * ref.step}
    return pixel_walk(
        base=first,
        width=grid.width,
        height=grid.height,
        pitch=pitch,
        row_pitch=grid.in_width * pitch,
        image_pitch=grid.area * pitch,
        dx=grid.x0,
        dy=grid.y0,
        stride=grid.stride,
        in_width=grid.in_width,
        in_height=grid.in_height,
    )


def dest_fields(ref: Ref, base: int, pitch: int) -> Command:
    """Return where a product's results go, as :func:`walk_fields` does."""
    first, grid = base + ref.row * pitch, ref.pixels
    if grid is None:
        return {"dest_base": first, "dest_pitch": pitch * ref.step}
    fields = steps(
        "dest_",
        width=grid.width,
        height=grid.height,
        pitch=grid.stride * pitch,
        row_pitch=grid.stride * grid.in_width * pitch,
        image_pitch=grid.area * pitch,
    )
    return fields | {"dest_base": first + (grid.y0 * grid.in_width + grid.x0) * pitch}


@dataclass(frozen=True, slots=True, kw_only=True)
class Lines:
    """Rows of a pass: `width` of them `step` apart, then `line` to the next one; 0: all in one."""

    first: int
    step: int
    width: int = 0
    line: int = 0


def lines_of(ref: Ref) -> Lines:
    """Return the rows of a part as lines; InputError if two steps do not do."""
    grid = ref.pixels
    if grid is None:
        return Lines(first=ref.row, step=ref.step)
    if not grid.inside:
        raise ValueError(f"a pass must read within {ref.tensor.name}'s images")
    levels = _merged(
        [
            (grid.width, grid.stride),
            (grid.height, grid.stride * grid.in_width),
            (ref.images, grid.area),
        ]
    )
    first = ref.row + grid.y0 * grid.in_width + grid.x0
    if len(levels) > 2:
        raise InputError(
            f"height must be a multiple of the stride for a pass through {ref.tensor.name}'s "
            f"images, not {grid.in_height}"
        )
    if len(levels) < 2:
        return Lines(first=first, step=levels[0][1] if levels else 1)
    (width, step), (_, pitch) = levels
    return Lines(first=first, step=step, width=width, line=pitch - (width - 1) * step)


def _merged(levels: Sequence[tuple[int, int]]) -> list[tuple[int, int]]:
    """Put counts and steps together, innermost first, where one goes on as the one before."""
    out: list[tuple[int, int]] = []
    for count, step in levels:
        if count == 1:
            continue
        if out and step == out[-1][0] * out[-1][1]:
            out[-1] = (out[-1][0] * count, out[-1][1])
        else:
            out.append((count, step))
    return out
