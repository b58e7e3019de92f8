"""Convolutions in training: their three products, as sums over taps by address generation."""

from dataclasses import dataclass

from moesaic.models.training.builder import Builder, whole
from moesaic.models.training.matrix import Matrix
from moesaic.models.training.passes import Combine
from moesaic.models.training.pixels import Geometry
from moesaic.models.training.step import ONE, ZERO, Layout, Operand, Pack, Ref, Tensor, Term


@dataclass(frozen=True, slots=True, kw_only=True)
class Pending:
    """A pass that waits for where its result is wanted: of a convolution's output gradient."""

    a: Tensor
    p: Operand = ONE
    q: Operand = ZERO
    how: Combine = Combine.MULTIPLY_ADD

    def into(self, b: Builder, name: str, out: Tensor, *, transpose: bool = False) -> None:
        """Append the pass."""
        b.work(name, self.a, p=self.p, q=self.q, how=self.how, out=out, transpose=transpose)


def conv_forward(b: Builder, matrix: Matrix, x: Tensor, geometry: Geometry) -> Tensor:
    """Append the convolution of operands `x` (pixels, inputs); return it (fp32).

    Taps are terms of one sum, row by row.
    """
    b.stage = "forward"
    y = b.floats(f"{matrix.name}.product", geometry.out_rows, matrix.outputs)
    terms = [
        Term(
            left=Ref(tensor=x, pixels=geometry.read_by(tap)),
            right=_tap(matrix.forward, number, matrix.outputs),
            layout=Layout.WEIGHTS,
        )
        for number, tap in enumerate(geometry.taps)
    ]
    b.product(y.name, y, *terms)
    return y


def conv_backward(
    b: Builder, matrix: Matrix, x: Tensor, gradient: Pending, geometry: Geometry
) -> Tensor | None:
    """Append the update of the weights; return the input's gradient (fp32) where it is wanted.

    ``sdgp`` prunes the output's gradient; the array multiplies it as a dense one, since walks go
    through X and packed operands lie in W.

    Parameters
    ----------
    x : Tensor
        Operands that the forward read.
    gradient : Pending
        Of the output: (output's pixels, outputs).
    """
    name, rows = matrix.name, geometry.out_rows
    b.stage = "backward"
    g = b.operands(f"{name}.g", rows, matrix.outputs)
    gradient.into(b, g.name, g)
    turned = b.operands(f"{name}.g.turned", matrix.outputs, rows)
    gradient.into(b, turned.name, turned, transpose=True)
    out = None
    if matrix.backward is not None:
        read = g if matrix.gradient_nm is None else _pruned(b, matrix, gradient, rows)
        out = _input_gradient(b, matrix, read, geometry)

    b.stage = "weight_update"
    weights = b.floats(f"{name}.weight.gradient", matrix.taps * matrix.outputs, matrix.inputs)
    for number, tap in enumerate(geometry.taps):
        pixels = Ref(tensor=x, pixels=geometry.read_by(tap))
        term = Term(left=whole(turned), right=pixels, layout=Layout.ROWS)
        b.product(f"{weights.name}.{number}", _tap(weights, number, matrix.outputs), term)
    matrix.update(weights)
    b.stage = "backward"
    return out


def _input_gradient(b: Builder, matrix: Matrix, g: Tensor, geometry: Geometry) -> Tensor:
    """Append the products that give the input's gradient, one for each phase of the stride."""
    assert matrix.backward is not None
    out = b.floats(f"{matrix.name}.input", geometry.rows, matrix.inputs)
    for number, phase in enumerate(geometry.phases):
        terms = [
            Term(
                left=Ref(tensor=g, pixels=pixels),
                right=_tap(matrix.backward, tap, matrix.inputs),
                layout=Layout.WEIGHTS,
            )
            for tap, pixels in geometry.taps_of(phase)
        ]
        b.product(f"{out.name}.{number}", Ref(tensor=out, pixels=phase), *terms)
    return out


def _pruned(b: Builder, matrix: Matrix, gradient: Pending, rows: int) -> Tensor:
    """Return the gradient's operands with N of M outputs of each pixel, zero elsewhere."""
    name = matrix.name
    values = b.floats(f"{name}.g.floats", rows, matrix.outputs)
    gradient.into(b, values.name, values)
    kept = b.floats(f"{name}.g.kept", rows, matrix.outputs)
    b.step.ops.append(
        Pack(
            name=kept.name,
            stage=b.stage,
            a=whole(values),
            nm=matrix.gradient_nm,
            dense_out=whole(kept),
        )
    )
    out = b.operands(f"{name}.g.pruned", rows, matrix.outputs)
    b.work(out.name, kept, out=out)
    return out


def _tap(tensor: Tensor, number: int, rows: int) -> Ref:
    return Ref(tensor=tensor, row=number * rows, rows=rows)
