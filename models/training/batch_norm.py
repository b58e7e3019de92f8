"""BatchNorm in training, forward and backward, as passes over (pixels, channels).

Mean and variance are those of the batch's pixels (Ioffe and Szegedy 2015, arXiv 1502.03167,
algorithm 1). Running statistics are for evaluation and take no part in a step.
"""

from moesaic.models.training.builder import Builder, full, number, row
from moesaic.models.training.conv import Pending
from moesaic.models.training.norm import parameters
from moesaic.models.training.passes import Combine
from moesaic.models.training.step import ZERO, Function, Tensor
from moesaic.models.training.update import update


def batch_norm_forward(b: Builder, name: str, x: Tensor, *, epsilon: float) -> Tensor:
    """Append ``(x - mean) / sqrt(variance + epsilon) * gain + offset``; return it (fp32).

    What the way back needs stays: the normalised values (operands) and the reciprocal deviations
    (one row).
    """
    b.stage = "forward"
    rows, channels = x.rows, x.channels
    sums, squares = b.floats(f"{name}.sum", 1, channels), b.floats(f"{name}.squares", 1, channels)
    mean, deviation = (b.floats(f"{name}.{part}", 1, channels) for part in ("mean", "deviation"))
    centred, out = b.floats(f"{name}.centred", rows, channels), b.floats(name, rows, channels)
    normal = b.operands(f"{name}.normal", rows, channels)
    gain, offset = parameters(b, name, channels)
    b.work(sums.name, x, column_sum=sums)
    b.work(mean.name, sums, p=number(-1 / rows), out=mean)
    b.work(centred.name, x, q=row(mean), out=centred)
    b.work(squares.name, centred, p=full(centred), column_sum=squares)
    b.work(
        deviation.name,
        squares,
        p=number(1 / rows),
        q=number(epsilon),
        function=Function.RSQRT,
        out=deviation,
    )
    b.work(normal.name, centred, p=row(deviation), out=normal)
    b.work(name, normal, p=row(gain), q=row(offset), out=out)
    return out


def batch_norm_backward(b: Builder, name: str, gradient: Tensor, seen: Tensor) -> Pending:
    """Append ReLU's and BatchNorm's way back and the update of gain and offset.

    ``dx = gain * deviation * (g - mean(g) - normal * mean(g * normal))``, with ``g`` the gradient
    where ReLU let something through. The two means are the gradients of offset and gain.

    Parameters
    ----------
    gradient : Tensor
        Of ReLU's result.
    seen : Tensor
        ReLU's result, operands.

    Returns
    -------
    Pending
        The gradient of the norm's input.
    """
    b.stage = "backward"
    rows, channels = gradient.rows, gradient.channels
    normal, deviation = (b.step.tensors[f"{name}.{part}"] for part in ("normal", "deviation"))
    gain, offset = parameters(b, name, channels)
    g, inner = b.floats(f"{name}.g", rows, channels), b.floats(f"{name}.inner", rows, channels)
    offset_gradient = b.floats(f"{name}.offset.gradient", 1, channels)
    gain_gradient = b.floats(f"{name}.gain.gradient", 1, channels)
    mean, product, scale = (
        b.floats(f"{name}.g.{part}", 1, channels) for part in ("mean", "product", "scale")
    )
    b.work(
        g.name,
        seen,
        p=full(gradient),
        q=ZERO,
        how=Combine.GREATER,
        out=g,
        column_sum=offset_gradient,
    )
    b.work(gain_gradient.name, g, p=full(normal), column_sum=gain_gradient)
    b.work(mean.name, offset_gradient, p=number(-1 / rows), out=mean)
    b.work(product.name, gain_gradient, p=number(-1 / rows), out=product)
    b.work(scale.name, deviation, p=row(gain), out=scale)
    b.work(inner.name, normal, p=row(product), q=full(g), out=inner)
    update(b, f"{name}.gain", gain, gain_gradient)
    update(b, f"{name}.offset", offset, offset_gradient)
    b.stage = "backward"
    return Pending(a=inner, p=row(scale), q=row(mean), how=Combine.ADD_MULTIPLY)
