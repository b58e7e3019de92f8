"""Linear layers in training: the three products, and the bias."""

from moesaic.models.training.builder import Builder, full, row, whole
from moesaic.models.training.matrix import Matrix
from moesaic.models.training.sparse_update import sparse_weight_gradient
from moesaic.models.training.step import Kind, Layout, Pack, Ref, Role, Tensor, Term
from moesaic.models.training.update import update


def linear_forward(b: Builder, matrix: Matrix, x: Ref) -> Tensor:
    """Append ``x @ W.T`` and return it (fp32); :func:`add_bias` is what comes next."""
    b.stage = "forward"
    y = b.floats(f"{matrix.name}.product", x.rows, matrix.outputs)
    b.product(y.name, y, matrix.product(x))
    return y


def bias_of(b: Builder, name: str, channels: int) -> Tensor:
    """Enter a layer's bias, or return it."""
    key = f"{name}.bias"
    return b.step.tensors.get(key) or b.floats(key, 1, channels, Role.STATE)


def linear_backward(b: Builder, matrix: Matrix, x: Ref, gradient: Tensor | Ref) -> Term | None:
    """Append weight and bias updates; return the product that gives the input's gradient.

    A sparse update of the weights comes later, by :func:`late_update`. ``sdgp`` has that product
    the other way round; it is appended here and None is returned, its result is the tensor
    ``<name>.input``.
    """
    name, rows = matrix.name, x.rows
    b.stage = "backward"
    g = b.operands(f"{name}.g", rows, matrix.outputs)
    bias_gradient = b.floats(f"{name}.bias.gradient", 1, matrix.outputs)
    b.work(g.name, gradient, out=g, column_sum=bias_gradient)
    if matrix.method.update is None:
        turned = b.operands(f"{name}.g.turned", matrix.outputs, rows)
        b.work(turned.name, gradient, out=turned, transpose=True)

    term = None
    if matrix.backward is not None and not matrix.swapped:
        term = Term(left=whole(g), right=whole(matrix.backward), layout=Layout.WEIGHTS)
    elif matrix.backward is not None:
        _sparse_gradient(b, matrix, gradient, rows)

    if matrix.method.update is None:
        b.stage = "weight_update"
        dw = b.floats(f"{name}.weight.gradient", matrix.outputs, matrix.inputs)
        b.product(dw.name, dw, Term(left=whole(turned), right=x, layout=Layout.ROWS))
        matrix.update(dw)
    update(b, f"{name}.bias", bias_of(b, name, matrix.outputs), bias_gradient)
    b.stage = "backward"
    return term


def late_update(b: Builder, matrix: Matrix, x: Ref, gradient: Tensor | Ref) -> None:
    """Append a sparse update of the weights, if it is one.

    Its passes need no product, so they run while the array is at work on the input's gradient.
    """
    if matrix.method.update is not None:
        matrix.update(sparse_weight_gradient(b, matrix, x, gradient))
        b.stage = "backward"


def _sparse_gradient(b: Builder, matrix: Matrix, gradient: Tensor | Ref, rows: int) -> None:
    """Input's gradient from a pruned output gradient, which is what the array holds."""
    name, nm = matrix.name, matrix.gradient_nm
    assert matrix.backward is not None
    packed = b.step.tensor(f"{name}.g.packed", rows, matrix.outputs, Kind.WEIGHTS, nm=nm)
    b.step.ops.append(
        Pack(name=packed.name, stage="backward", a=whole(gradient), out=packed, nm=nm)
    )
    lying = b.floats(f"{name}.input.turned", matrix.inputs, rows)
    term = Term(left=whole(matrix.backward), right=whole(packed), layout=Layout.WEIGHTS)
    b.product(lying.name, lying, term)
    out = b.floats(f"{name}.input", rows, matrix.inputs)
    b.work(out.name, lying, out=out, transpose=True)


def input_gradient(
    b: Builder, name: str, rows: int, parts: list[tuple[Matrix, Term | None]]
) -> Tensor:
    """Append the sum of the products that give the gradient of one input; return it."""
    b.stage = "backward"
    terms = [term for _, term in parts if term is not None]
    done = [b.step.tensors[f"{matrix.name}.input"] for matrix, term in parts if term is None]
    channels = parts[0][0].inputs
    if terms:
        total = b.floats(f"{name}.gradient", rows, channels)
        b.product(total.name, total, *terms)
    else:
        total = done.pop(0)
    if done and terms:
        raise ValueError(f"{name}: layers of one input must have one method")
    for other in done:
        b.work(f"{name}.gradient.sum", total, q=full(other), out=total)
    return total


def add_bias(b: Builder, name: str, y: Tensor, out: Tensor) -> None:
    """Append ``y + bias``, rounded where `out` holds operands."""
    b.work(out.name, y, q=row(bias_of(b, name, y.channels)), out=out)
