"""What the layers of a step are built with: tensors by name, passes, gradients that add up."""

from collections.abc import Callable
from dataclasses import dataclass, field

from moesaic.models.training.method import Method
from moesaic.models.training.optimiser import Optimiser
from moesaic.models.training.passes import Combine
from moesaic.models.training.step import (
    ONE,
    ZERO,
    Function,
    Kind,
    Operand,
    Pass,
    Product,
    Ref,
    Role,
    Spread,
    Step,
    Tensor,
    Term,
)


def number(value: float) -> Operand:
    """Return a number as an operand."""
    return Operand(number=value)


def full(tensor: Tensor | Ref) -> Operand:
    """Return a tensor as an operand of the same shape."""
    return Operand(ref=whole(tensor), spread=Spread.FULL)


def row(tensor: Tensor | Ref) -> Operand:
    """Return a tensor's one row as an operand of all rows."""
    return Operand(ref=whole(tensor), spread=Spread.ROW)


def column(tensor: Tensor | Ref) -> Operand:
    """Return a column, one value for each row, as an operand."""
    return Operand(ref=whole(tensor), spread=Spread.COLUMN)


def whole(tensor: Tensor | Ref) -> Ref:
    """Return all of a tensor."""
    return tensor if isinstance(tensor, Ref) else Ref(tensor=tensor)


@dataclass(slots=True, kw_only=True)
class Builder:
    """A step in the making.

    `gradients` holds what is known of the loss's gradient by each layer's value; `undo` what the
    backward pass has to do, last in, first out.
    """

    step: Step
    method: Method
    optimiser: Optimiser
    batch: int
    stage: str = "forward"
    gradients: dict[str, Tensor] = field(default_factory=dict)
    undo: list[Callable[[], None]] = field(default_factory=list)

    def floats(self, name: str, rows: int, channels: int, role: Role = Role.INNER) -> Tensor:
        """Enter a tensor of fp32."""
        return self.step.tensor(name, rows, channels, Kind.FLOAT, role)

    def operands(self, name: str, rows: int, channels: int, role: Role = Role.INNER) -> Tensor:
        """Enter a tensor that products read."""
        return self.step.tensor(name, rows, channels, Kind.OPERAND, role)

    def column(self, name: str, rows: int) -> Tensor:
        """Enter a column: one value for each row of something."""
        return self.step.tensor(name, rows, 1, Kind.COLUMN)

    def work(
        self,
        name: str,
        a: Tensor | Ref,
        *,
        p: Operand = ONE,
        q: Operand = ZERO,
        how: Combine = Combine.MULTIPLY_ADD,
        function: Function = Function.NONE,
        out: Tensor | Ref | None = None,
        transpose: bool = False,
        row_sum: Tensor | None = None,
        row_max: Tensor | None = None,
        column_sum: Tensor | Ref | None = None,
        watch: bool = False,
    ) -> None:
        """Append a pass."""
        self.step.ops.append(
            Pass(
                name=name,
                stage=self.stage,
                a=whole(a),
                p=p,
                q=q,
                combine=how,
                function=function,
                out=None if out is None else whole(out),
                transpose=transpose,
                row_sum=None if row_sum is None else whole(row_sum),
                row_max=None if row_max is None else whole(row_max),
                column_sum=None if column_sum is None else whole(column_sum),
                watch=watch,
            )
        )

    def product(self, name: str, out: Tensor | Ref, *terms: Term) -> None:
        """Append a product."""
        self.step.ops.append(Product(name=name, stage=self.stage, out=whole(out), terms=terms))

    def add_gradient(self, name: str, gradient: Tensor) -> None:
        """Note a gradient of a layer's value; a second one is added to the first."""
        if name not in self.gradients:
            self.gradients[name] = gradient
            return
        total = self.gradients[name]
        self.work(f"{name}.gradient.sum", total, q=full(gradient), out=total)

    def gradient(self, name: str) -> Tensor:
        """Return the gradient of a layer's value, all of it."""
        return self.gradients[name]
