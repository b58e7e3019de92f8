"""Pooling in training, forward and backward: 2 by 2 pixels, and all pixels of an image."""

from moesaic.models.training.builder import Builder, full, number
from moesaic.models.training.passes import Combine
from moesaic.models.training.pixels import Geometry, Pixels
from moesaic.models.training.step import Ref, Tensor

SIDE = 2
QUARTER = number(1 / SIDE**2)


def _phases(images: int, height: int, width: int) -> list[Pixels]:
    """Return the grids of each window's pixels, row by row of a window."""
    return Geometry(images=images, height=height, width=width, stride=SIDE).phases


def average_forward(b: Builder, name: str, x: Tensor, geometry: Geometry) -> Tensor:
    """Append the mean of each 2 by 2 pixels of operands `x`, summed row by row; return it (fp32).

    Parameters
    ----------
    geometry : Geometry
        Whose images `x` holds.
    """
    b.stage = "forward"
    out = b.floats(name, x.rows // SIDE**2, x.channels)
    for number_, phase in enumerate(_phases(geometry.images, geometry.height, geometry.width)):
        part = Ref(tensor=x, pixels=phase)
        if number_:
            b.work(f"{name}.{number_}", part, p=QUARTER, q=full(out), out=out)
        else:
            b.work(f"{name}.{number_}", part, p=QUARTER, out=out)
    return out


def average_backward(b: Builder, name: str, gradient: Tensor, geometry: Geometry) -> Tensor:
    """Append the gradient of the input: a quarter for each pixel; return it."""
    b.stage = "backward"
    out = b.floats(f"{name}.input", geometry.rows, gradient.channels)
    for number_, phase in enumerate(_phases(geometry.images, geometry.height, geometry.width)):
        b.work(f"{out.name}.{number_}", gradient, p=QUARTER, out=Ref(tensor=out, pixels=phase))
    return out


def max_forward(b: Builder, name: str, x: Tensor, geometry: Geometry) -> Tensor:
    """Append the largest of each 2 by 2 pixels of operands `x`; return it (fp32)."""
    b.stage = "forward"
    out = b.floats(name, x.rows // SIDE**2, x.channels)
    for number_, phase in enumerate(_phases(geometry.images, geometry.height, geometry.width)):
        part = Ref(tensor=x, pixels=phase)
        if number_:
            b.work(f"{name}.{number_}", part, q=full(out), how=Combine.MAXIMUM, out=out)
        else:
            b.work(f"{name}.{number_}", part, out=out)
    return out


def max_backward(b: Builder, name: str, gradient: Tensor, x: Tensor, geometry: Geometry) -> Tensor:
    """Append the gradient of the input: all of it for the first of the largest; return it.

    What a window's pixel takes is taken off what is left, so that a later one gets zero.
    """
    b.stage = "backward"
    largest = b.step.tensors[name]
    left = b.floats(f"{name}.left", gradient.rows, gradient.channels)
    out = b.floats(f"{name}.input", geometry.rows, gradient.channels)
    b.work(left.name, gradient, out=left)
    phases = _phases(geometry.images, geometry.height, geometry.width)
    for number_, phase in enumerate(phases):
        to = Ref(tensor=out, pixels=phase)
        b.work(
            f"{out.name}.{number_}",
            Ref(tensor=x, pixels=phase),
            p=full(left),
            q=full(largest),
            how=Combine.EQUAL,
            out=to,
        )
        if number_ < len(phases) - 1:
            b.work(f"{left.name}.{number_}", to, p=number(-1.0), q=full(left), out=left)
    return out


def mean_forward(b: Builder, name: str, x: Tensor, images: int) -> Tensor:
    """Append the mean of each image's pixels, summed line by line; return operands (images, C)."""
    b.stage = "forward"
    each = x.rows // images
    sums, out = b.floats(f"{name}.sum", images, x.channels), b.operands(name, images, x.channels)
    for image in range(images):
        b.work(
            f"{sums.name}.{image}",
            Ref(tensor=x, row=image * each, rows=each),
            column_sum=Ref(tensor=sums, row=image, rows=1),
        )
    b.work(name, sums, p=number(1 / each), out=out)
    return out


def mean_backward(b: Builder, name: str, gradient: Tensor, height: int, width: int) -> Tensor:
    """Append the gradient of the input, the same for all of an image's pixels; return it."""
    b.stage = "backward"
    each = height * width
    out = b.floats(f"{name}.input", gradient.rows * each, gradient.channels)
    for pixel in range(each):
        one = Pixels(
            height=1,
            width=1,
            in_height=height,
            in_width=width,
            y0=pixel // width,
            x0=pixel % width,
        )
        share = number(1 / each)
        b.work(f"{out.name}.{pixel}", gradient, p=share, out=Ref(tensor=out, pixels=one))
    return out
