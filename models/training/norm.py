"""LayerNorm in training, forward and backward, as passes."""

from moesaic.models.training.builder import Builder, column, full, number, row
from moesaic.models.training.passes import Combine
from moesaic.models.training.step import Function, Ref, Role, Tensor
from moesaic.models.training.update import update

ADD_MULTIPLY = Combine.ADD_MULTIPLY


def norm_forward(b: Builder, name: str, x: Ref, *, epsilon: float) -> Tensor:
    """Append ``(x - mean) / sqrt(variance + epsilon) * gain + offset``; return it as operands.

    What the way back needs stays: the normalised values (operands) and the reciprocal deviation.
    """
    b.stage = "forward"
    rows, channels = x.shape
    sums, squares = b.column(f"{name}.sum", rows), b.column(f"{name}.squares", rows)
    mean, deviation = b.column(f"{name}.mean", rows), b.column(f"{name}.deviation", rows)
    centred = b.floats(f"{name}.centred", rows, channels)
    normal = b.operands(f"{name}.normal", rows, channels)
    out = b.operands(name, rows, channels)
    gain, offset = parameters(b, name, channels)
    b.work(sums.name, x, row_sum=sums)
    b.work(mean.name, sums, p=number(-1 / channels), out=mean)
    b.work(centred.name, x, q=column(mean), out=centred)
    b.work(squares.name, centred, p=full(centred), row_sum=squares)
    b.work(
        deviation.name,
        squares,
        p=number(1 / channels),
        q=number(epsilon),
        function=Function.RSQRT,
        out=deviation,
    )
    b.work(normal.name, centred, p=column(deviation), out=normal)
    b.work(name, normal, p=row(gain), q=row(offset), out=out)
    return out


def parameters(b: Builder, name: str, channels: int) -> tuple[Tensor, Tensor]:
    """Enter gain and offset, or return them."""
    return tuple(  # type: ignore[return-value]
        b.step.tensors.get(f"{name}.{part}") or b.floats(f"{name}.{part}", 1, channels, Role.STATE)
        for part in ("gain", "offset")
    )


def norm_backward(b: Builder, name: str, gradient: Tensor, onto: Ref, *, first: bool) -> None:
    """Append the update of gain and offset, and the input's gradient, added to `onto`.

    ``dx = deviation * (g - mean(g) - normal * mean(g * normal))`` with ``g = gradient * gain``.

    Parameters
    ----------
    onto : Ref
        Where the gradient of the norm's input goes.
    first : bool
        Nothing is there yet.
    """
    b.stage = "backward"
    rows, channels = gradient.rows, gradient.channels
    normal = b.step.tensors[f"{name}.normal"]
    deviation = b.step.tensors[f"{name}.deviation"]
    gain, offset = parameters(b, name, channels)
    grown = b.floats(f"{name}.grown", rows, channels)
    sums, products = b.column(f"{name}.g.sum", rows), b.column(f"{name}.g.product", rows)
    offset_gradient = b.floats(f"{name}.offset.gradient", 1, channels)
    gain_gradient = b.floats(f"{name}.gain.gradient", 1, channels)
    b.work(offset_gradient.name, gradient, column_sum=offset_gradient)
    b.work(gain_gradient.name, gradient, p=full(normal), column_sum=gain_gradient)
    b.work(grown.name, gradient, p=row(gain), out=grown, row_sum=sums)
    b.work(products.name, grown, p=full(normal), row_sum=products)
    for each in (sums, products):
        b.work(f"{each.name}.mean", each, p=number(-1 / channels), out=each)
    inner = b.floats(f"{name}.inner", rows, channels)
    b.work(inner.name, normal, p=column(products), q=full(grown), out=inner)
    if first:
        b.work(
            f"{name}.gradient.in",
            inner,
            p=column(deviation),
            q=column(sums),
            how=ADD_MULTIPLY,
            out=onto,
        )
    else:
        b.work(
            f"{name}.gradient.in",
            inner,
            p=column(deviation),
            q=column(sums),
            how=ADD_MULTIPLY,
            out=inner,
        )
        b.work(f"{name}.gradient.sum", onto, q=full(inner), out=onto)
    update(b, f"{name}.gain", gain, gain_gradient)
    update(b, f"{name}.offset", offset, offset_gradient)
    b.stage = "backward"
