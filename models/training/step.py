"""A training step as a list of operations on named tensors: what numpy and the machine both run.

Tensors are matrices of rows by channels. There are three kinds of operations: products, passes and
packings; each writes whole rows of a tensor once. Names are those of the network's layers.
"""

from dataclasses import dataclass, field
from enum import Enum

from moesaic.models.accel import NM
from moesaic.models.training.passes import Combine
from moesaic.models.training.pixels import Pixels


class Kind(Enum):
    """What a tensor's values are."""

    OPERAND = "operand"  # fp16 or bf16: what products read
    FLOAT = "float"  # fp32
    COLUMN = "column"  # fp32, one value for each row of another tensor
    WEIGHTS = "weights"  # operands packed for the array's columns: values and places


class Role(Enum):
    """Where a tensor's values come from, and who needs them after the step."""

    INPUT = "input"  # the host writes it before each step
    STATE = "state"  # the step before left it in memory
    NEXT = "next"  # this step leaves it in memory, for the host or the next step
    INNER = "inner"  # made and used within the step


@dataclass(frozen=True, slots=True, kw_only=True)
class Tensor:
    """A matrix of `rows` by `channels`; WEIGHTS have an output in each row, `nm` where compact."""

    name: str
    rows: int
    channels: int
    kind: Kind
    role: Role = Role.INNER
    nm: NM | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Ref:
    """Part of a tensor: `rows` rows from `row` on, `step` apart, and `channels` from `channel`.

    With `pixels`, they are those of a grid over each image, from the one on that begins with `row`.
    """

    tensor: Tensor
    row: int = 0
    rows: int = 0
    step: int = 1
    channel: int = 0
    channels: int = 0
    pixels: Pixels | None = None

    def __post_init__(self) -> None:
        left = self.tensor.rows - self.row
        if self.pixels is not None:
            left = left // self.pixels.area * self.pixels.rows
        object.__setattr__(self, "rows", self.rows or left)
        object.__setattr__(self, "channels", self.channels or self.tensor.channels - self.channel)
        last = self.row + (self.rows - 1) * self.step
        if self.pixels is not None:
            last = self.row + self.images * self.pixels.area - 1
        if last >= self.tensor.rows or self.channel + self.channels > self.tensor.channels:
            raise ValueError(f"{self.tensor.name} has no rows and channels such as {self}")

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and channels."""
        return self.rows, self.channels

    @property
    def images(self) -> int:
        """Images that `pixels` go over."""
        return 1 if self.pixels is None else self.rows // self.pixels.rows


class Spread(Enum):
    """How an operand of a pass meets the rows."""

    FULL = "full"  # one value for each
    ROW = "row"  # one row for all rows
    COLUMN = "column"  # one value for each row


@dataclass(frozen=True, slots=True, kw_only=True)
class Operand:
    """`p` or `q` of a pass: a number, or a tensor with its spread."""

    number: float = 0.0
    ref: Ref | None = None
    spread: Spread = Spread.FULL


ONE, ZERO = Operand(number=1.0), Operand(number=0.0)


class Function(Enum):
    """What is made of each value after `combine`."""

    NONE = 0
    EXP = 1
    RECIPROCAL = 2
    RSQRT = 3
    LOG = 4


class Layout(Enum):
    """How the stationary operand of a product lies: who is a column of the array."""

    WEIGHTS = "weights"  # packed; a column takes a row's values
    COLUMNS = "columns"  # a tensor; a column takes a row's values: left @ right.T
    ROWS = "rows"  # a tensor; a row of the array takes a row's values: left @ right


@dataclass(frozen=True, slots=True, kw_only=True)
class Op:
    """What every operation has: its name, and the stage of training that it belongs to."""

    name: str
    stage: str = "forward"


@dataclass(frozen=True, slots=True, kw_only=True)
class Term:
    """``left @ right``; with pixels, `left` is what one tap of a convolution reads.

    `right` may be some rows of WEIGHTS: those of one tap.
    """

    left: Ref
    right: Ref
    layout: Layout


@dataclass(frozen=True, slots=True, kw_only=True)
class Product(Op):
    """Products of operands, as :func:`moesaic.models.float_dot.dot` has them, one sum for all."""

    out: Ref
    terms: tuple[Term, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Pass(Op):
    """``out = function(combine(a, p, q))`` and its sums; see :mod:`.passes`.

    With `transpose`, `out` is channels by rows. `row_sum` and `row_max` are columns of `a`'s
    rows, `column_sum` a row; they are of what `out` is before it is rounded. With `watch`, a result
    that is not finite is remembered until a pass with WATCHED asks.
    """

    a: Ref
    p: Operand = ONE
    q: Operand = ZERO
    combine: Combine = Combine.MULTIPLY_ADD
    function: Function = Function.NONE
    out: Ref | None = None
    transpose: bool = False
    row_sum: Ref | None = None
    row_max: Ref | None = None
    column_sum: Ref | None = None
    watch: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Pack(Op):
    """Round rows of `a` to operands and pack them as WEIGHTS, N:M along the channels where compact.

    With `dense_out`, what was kept is also written in place, and zero elsewhere.
    """

    a: Ref
    out: Tensor | None = None
    nm: NM | None = None
    dense_out: Ref | None = None


STAGES = ("forward", "backward", "weight_update", "optimizer", "pregenerate")


@dataclass(slots=True, kw_only=True)
class Step:
    """The operations of one training step, in order."""

    name: str
    ops: list[Op] = field(default_factory=list)
    tensors: dict[str, Tensor] = field(default_factory=dict)

    def tensor(
        self,
        name: str,
        rows: int,
        channels: int,
        kind: Kind,
        role: Role = Role.INNER,
        nm: NM | None = None,
    ) -> Tensor:
        """Enter a new tensor."""
        if name in self.tensors:
            raise ValueError(f"{name} is there already")
        made = Tensor(name=name, rows=rows, channels=channels, kind=kind, role=role, nm=nm)
        self.tensors[name] = made
        return made
