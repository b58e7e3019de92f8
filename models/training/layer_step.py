"""A step of one layer alone: forward, both gradients, new weights, all tensors to and from memory.

What a layer of a large network costs is found so: its input, the gradient of its result, weights,
momentum and packed weights come from memory; result, input's gradient and all that is new go back.
Results are rounded to operands on the way. The layer's pixels or tokens go through in pieces, its
weights in blocks of outputs, so that tensors fit on chip; a sum goes on through all pieces.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import TypeVar

from moesaic.models.errors import InputError
from moesaic.models.training.attention import Heads, attention_backward, attention_forward
from moesaic.models.training.builder import Builder, full, whole
from moesaic.models.training.layer_shapes import LayerShape
from moesaic.models.training.matrix import fitting
from moesaic.models.training.method import Method
from moesaic.models.training.optimiser import Optimiser
from moesaic.models.training.pixels import Pixels
from moesaic.models.training.step import (
    Kind,
    Layout,
    Op,
    Pack,
    Product,
    Ref,
    Role,
    Step,
    Tensor,
    Term,
)
from moesaic.models.training.strips import Strip, strips
from moesaic.models.training.update import update

DENSE = Method()
Item = TypeVar("Item")


@dataclass(frozen=True, slots=True, kw_only=True)
class Tiling:
    """How a layer goes through the machine.

    Parameters
    ----------
    rows : int
        Results of a piece, at most.
    outputs, inputs : int
        Channels of a block of weights, forward and backward.
    forward, backward, update : int
        Blocks whose weights (gradients) are on chip at the same time: output blocks, input blocks,
        and blocks of outputs for each tap.
    keep : bool
        Whether operands stay on chip from their first use to their last; else each round over the
        pieces loads them again.
    """

    rows: int
    outputs: int
    inputs: int
    forward: int
    backward: int
    update: int
    keep: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Piece:
    """Some rows of a linear layer, with the properties of a :class:`Strip` that a step asks for."""

    row: int
    rows: int

    g_own = 0

    @property
    def x_rows(self) -> int:
        """Rows of input, result and both gradients."""
        return self.rows

    y_rows = g_rows = own_rows = x_rows


class LayerStep:
    """Builds the step of one layer.

    Parameters
    ----------
    layer : LayerShape
    method : Method
        ``dense``, ``bdwp`` or ``sdwp``: those whose pruned operands are the weights as they are.
    optimiser : Optimiser
    batch : int
        Images.
    tiling : Tiling
    """

    def __init__(
        self,
        layer: LayerShape,
        *,
        method: Method,
        optimiser: Optimiser,
        batch: int,
        tiling: Tiling,
    ) -> None:
        if method.name not in ("dense", "bdwp", "sdwp"):
            raise InputError(
                f"method of a layer alone must be dense, bdwp or sdwp, not {method.name}"
            )
        self.layer, self.tiling = layer, tiling
        self.method = method if layer.sparse else DENSE
        self.b = Builder(
            step=Step(name=layer.name), method=self.method, optimiser=optimiser, batch=batch
        )
        self.convolution = layer.kernel > 1 and not layer.first
        if self.convolution:
            self.pieces: Sequence[Strip | Piece] = strips(layer, batch, tiling.rows)
        else:
            rows = batch * layer.rows
            cuts = range(0, rows, tiling.rows)
            self.pieces = [Piece(row=cut, rows=min(tiling.rows, rows - cut)) for cut in cuts]
        self.inputs = layer.inputs if self.convolution else layer.channels
        self.taps = layer.kernel**2 if self.convolution else 1
        self.out_blocks = _blocks(layer.outputs, tiling.outputs)
        self.in_blocks = [] if layer.first else _blocks(self.inputs, tiling.inputs)
        self.known: dict[str, Tensor] = {}
        self.loads = 0

    def build(self) -> Step:
        """Return the step."""
        tiling = self.tiling
        for blocks in _groups(range(len(self.out_blocks)), tiling.forward):
            for number, piece in enumerate(self.pieces):
                self._forward(number, piece, blocks)
        back = _groups(range(len(self.in_blocks)), tiling.backward)
        parts = [(tap, j) for tap in range(self.taps) for j in range(len(self.out_blocks))]
        fresh = _groups(parts, tiling.update)
        for turn in range(max(len(back), len(fresh))):
            for number, piece in enumerate(self.pieces):
                g = self._operand("g", number, turn, piece.g_rows, self.layer.outputs)
                if turn < len(fresh):  # turned while the input's gradient is computed
                    for j in dict.fromkeys(j for _, j in fresh[turn]):
                        self._turned(number, piece, g, turn, j)
                if turn < len(back):
                    self._backward(number, piece, g, back[turn])
                if turn < len(fresh):
                    self._weights(number, piece, g, turn, fresh[turn])
        return self.b.step

    # ---- operands -----------------------------------------------------------------------------
    def _operand(self, letter: str, piece: int, turn: int, rows: int, channels: int) -> Tensor:
        """Return a piece's input or gradient, from memory unless it is kept."""
        name = f"{letter}.{piece}" if self.tiling.keep else f"{letter}.{piece}.{turn}"
        if name not in self.known:
            self.known[name] = self.b.operands(name, rows, channels, Role.INPUT)
        return self.known[name]

    def _packed(self, name: str, rows: int, channels: int, role: Role, backward: bool) -> Tensor:
        """Return packed weights of a block and tap."""
        wanted = self.method.backward if backward else self.method.forward
        nm, key = fitting(wanted, channels), name + (".next" if role == Role.NEXT else "")
        if key not in self.known:
            self.known[key] = self.b.step.tensor(key, rows, channels, Kind.WEIGHTS, role, nm)
        return self.known[key]

    def _forward_weights(self, tap: int, j: int, role: Role = Role.STATE) -> Tensor:
        outputs = self.out_blocks[j][1]
        return self._packed(f"forward.{tap}.{j}", outputs, self.inputs, role, backward=False)

    def _backward_weights(self, tap: int, j: int, i: int, role: Role = Role.STATE) -> Tensor:
        inputs, outputs = self.in_blocks[i][1], self.out_blocks[j][1]
        return self._packed(f"backward.{tap}.{j}.{i}", inputs, outputs, role, backward=True)

    # ---- products -----------------------------------------------------------------------------
    def _forward(self, number: int, piece: Strip | Piece, blocks: Sequence[int]) -> None:
        b = self.b
        b.stage = "forward"
        x = self._operand("x", number, blocks[0], piece.x_rows, self.inputs)
        for j in blocks:
            outputs = self.out_blocks[j][1]
            y = b.floats(f"y.{number}.{j}.sum", piece.y_rows, outputs)
            terms = [
                Term(
                    left=Ref(tensor=x, pixels=self._read(piece, tap)),
                    right=whole(self._forward_weights(tap, j)),
                    layout=Layout.WEIGHTS,
                )
                for tap in range(self.taps)
            ]
            b.product(y.name, y, *terms)
            out = b.operands(f"y.{number}.{j}", piece.y_rows, outputs, Role.NEXT)
            b.work(out.name, y, out=out)

    def _backward(
        self, number: int, piece: Strip | Piece, g: Tensor, blocks: Sequence[int]
    ) -> None:
        b = self.b
        b.stage = "backward"
        for i in blocks:
            inputs = self.in_blocks[i][1]
            total = b.floats(f"dx.{number}.{i}.sum", piece.own_rows, inputs)
            for place, (phase, taps) in enumerate(self._phases(piece)):
                terms = [
                    Term(
                        left=Ref(tensor=g, channel=first, channels=count, pixels=pixels),
                        right=whole(self._backward_weights(tap, j, i)),
                        layout=Layout.WEIGHTS,
                    )
                    for j, (first, count) in enumerate(self.out_blocks)
                    for tap, pixels in taps
                ]
                b.product(f"{total.name}.{place}", Ref(tensor=total, pixels=phase), *terms)
            out = b.operands(f"dx.{number}.{i}", piece.own_rows, inputs, Role.NEXT)
            b.work(out.name, total, out=out)

    def _weights(
        self,
        number: int,
        piece: Strip | Piece,
        g: Tensor,
        turn: int,
        parts: Sequence[tuple[int, int]],
    ) -> None:
        """Append the weights' gradient of some taps and blocks, and after the last piece theirs."""
        b = self.b
        x = self._operand("x", number, -1 - turn, piece.x_rows, self.inputs)
        for tap, j in parts:
            turned = self._turned(number, piece, g, turn, j)
            b.stage = "weight_update"
            outputs, name = self.out_blocks[j][1], f"weights.{tap}.{j}"
            part = b.floats(f"{name}.gradient.{number}", outputs, self.inputs)
            right = Ref(tensor=x, pixels=self._read(piece, tap))
            b.product(part.name, part, Term(left=whole(turned), right=right, layout=Layout.ROWS))
            total = part
            if len(self.pieces) > 1:
                total = self._summed(name, part, number)
            if number == len(self.pieces) - 1:
                self._update(tap, j, name, total)

    def _turned(self, number: int, piece: Strip | Piece, g: Tensor, turn: int, j: int) -> Tensor:
        """Return the gradient of a block's results with rows for channels."""
        name = f"g.{number}.{turn}.{j}.turned"
        if name not in self.known:
            self.b.stage = "weight_update"
            first, count = self.out_blocks[j]
            self.known[name] = out = self.b.operands(name, count, piece.y_rows)
            source = Ref(
                tensor=g, row=piece.g_own, rows=piece.y_rows, channel=first, channels=count
            )
            self.b.work(name, source, out=out, transpose=True)
        return self.known[name]

    def _summed(self, name: str, part: Tensor, number: int) -> Tensor:
        """Add a piece's gradient to what there is."""
        key = f"{name}.gradient"
        total = self.known.get(key)
        if total is None:
            self.known[key] = total = self.b.floats(key, part.rows, part.channels)
            self.b.work(key, part, out=total)
        else:
            self.b.work(key, part, q=full(total), out=total)
        return total

    def _update(self, tap: int, j: int, name: str, gradient: Tensor) -> None:
        b, (_, outputs) = self.b, self.out_blocks[j]
        weight = b.floats(name, outputs, self.inputs, Role.STATE)
        new = update(b, name, weight, gradient, decay=b.optimiser.decay)
        b.stage = "pregenerate"
        self._pack(new, self._forward_weights(tap, j, Role.NEXT))
        if not self.in_blocks:
            return
        turned = b.floats(f"{name}.turned", self.inputs, outputs)
        b.work(turned.name, new, out=turned, transpose=True)
        for i, (first, count) in enumerate(self.in_blocks):
            packed = self._backward_weights(tap, j, i, Role.NEXT)
            self._pack(Ref(tensor=turned, row=first, rows=count), packed)

    def _pack(self, a: Tensor | Ref, out: Tensor) -> None:
        pack = Pack(name=out.name, stage=self.b.stage, a=whole(a), out=out, nm=out.nm)
        self.b.step.ops.append(pack)

    # ---- pixels -------------------------------------------------------------------------------
    def _read(self, piece: Strip | Piece, tap: int) -> Pixels | None:
        return piece.read_by(piece.taps[tap]) if isinstance(piece, Strip) else None

    def _phases(
        self, piece: Strip | Piece
    ) -> list[tuple[Pixels | None, list[tuple[int, Pixels | None]]]]:
        """Return each phase of the input's gradient with the taps that lead to it."""
        if isinstance(piece, Strip):
            return [(phase, [*piece.taps_of(phase)]) for phase in piece.phases]
        return [(None, [(0, None)])]


def attention_step(layer: LayerShape, *, optimiser: Optimiser, batch: int) -> Step:
    """Return the step of an attention without its linear layers.

    Operands q, k, v and the gradient of the result come from memory; the result and the gradients
    of q, k, v go back. Images take turns: one has products while another has passes.
    """
    b = Builder(step=Step(name=layer.name), method=DENSE, optimiser=optimiser, batch=batch)
    tokens, channels = layer.tokens, layer.inputs
    scale = (channels // layer.heads) ** -0.5
    heads = Heads(images=1, tokens=tokens, heads=layer.heads, channels=channels)
    images = []
    for image in range(batch):
        b.step.ops.clear()
        q, k, v = (
            b.operands(f"{letter}.{image}", tokens, channels, Role.INPUT) for letter in "qkv"
        )
        name = f"mix.{image}"
        out = attention_forward(b, name, q, k, v, heads, scale)
        _store(b, out)
        gradient = b.floats(f"g.{image}", tokens, channels, Role.INPUT)
        parts = attention_backward(b, name, gradient, {"q": q, "k": k, "v": v}, heads, scale)
        for part in parts.values():
            rounded = b.operands(f"{part.name}.operands", tokens, channels, Role.NEXT)
            b.work(rounded.name, part, out=rounded)
        images.append(list(b.step.ops))
    b.step.ops[:] = _in_turns(images)
    return b.step


def _in_turns(lists: Sequence[list[Op]]) -> list[Op]:
    """Put lists of operations together so that products of one stand beside passes of others.

    Each list is cut where products begin or end; the next list begins a piece later.
    """
    cut = [
        [list(run) for _, run in groupby(ops, lambda op: isinstance(op, Product))] for ops in lists
    ]
    turns = max((len(runs) + i for i, runs in enumerate(cut)), default=0)
    out: list[Op] = []
    for turn in range(turns):
        for i, runs in enumerate(cut):
            if 0 <= turn - i < len(runs):
                out += runs[turn - i]
    return out


def _store(b: Builder, out: Tensor) -> None:
    """Leave a copy of operands in memory."""
    left = b.operands(f"{out.name}.next", out.rows, out.channels, Role.NEXT)
    b.work(left.name, out, out=left)


def _blocks(channels: int, size: int) -> list[tuple[int, int]]:
    """Cut channels into blocks: first and count of each."""
    return [(first, min(size, channels - first)) for first in range(0, channels, size)]


def _groups(items: Sequence[Item], size: int) -> list[Sequence[Item]]:
    """Cut a list into groups of at most `size`."""
    return [items[first : first + size] for first in range(0, len(items), size)]
