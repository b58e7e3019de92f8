"""From views to layers: pending linear layers and norms are made the moment a value is needed."""

from dataclasses import dataclass

import numpy as np

from moesaic.models.importing.patches import IMAGE, image_layer, view_of_patches
from moesaic.models.importing.program import Array, UnsupportedError
from moesaic.models.importing.values import (
    Base,
    Form,
    ImageBase,
    Index,
    LinearBase,
    NormBase,
    Reals,
    ValueBase,
    View,
    form,
    identity_index,
    whole,
)
from moesaic.models.network import (
    Add,
    Attention,
    Embed,
    Floats,
    Gelu,
    Image,
    Layer,
    Linear,
    MeanPool,
    Norm,
    Select,
)


@dataclass(frozen=True, eq=False, slots=True)
class Settled:
    """A view that is a layer's value: its row ``t`` is token ``rows[t]`` of layer `name`."""

    name: str
    rows: Index
    channels: int

    def view(self, shape: tuple[int, ...]) -> View:
        """Return the value as a tensor of `shape` in the program's own order of tokens."""
        base = ValueBase((len(self.rows), self.channels), self.name)
        index = self.rows[:, None] * self.channels + np.arange(self.channels, dtype=np.int32)
        return View(base, index.astype(np.int32).reshape(shape))


def _floats(values: Array) -> Floats:
    """Return float32 weights; refuse what does not fit."""
    with np.errstate(over="ignore"):
        small = np.ascontiguousarray(values, dtype=np.float32)
    if not np.isfinite(small).all():
        raise UnsupportedError("weights that are NaN, infinite or too large for float32")
    return small


def _is_full(rows: Index, count: int) -> bool:
    return len(rows) == count and bool((np.sort(rows) == np.arange(count)).all())


def _take(x: View, rows: Index) -> View:
    return x.moved(lambda a: a[rows])


class Builder:
    """Makes layers; each view becomes a layer once, whoever asks."""

    def __init__(self) -> None:
        self.layers: list[Layer] = []
        self._image: Image | None = None
        self._settled: dict[tuple[object, ...], tuple[Base, Settled]] = {}

    def _name(self, kind: str) -> str:
        return f"{kind}{len(self.layers)}"

    def input(self, shape: tuple[int, ...]) -> View:
        """Start with the input: rank 4 is an image, less is tokens by channels."""
        if len(shape) == 4:
            return View(ImageBase(shape[1:]), identity_index(shape))
        tokens, channels = int(np.prod(shape[:-1])), shape[-1]
        self.layers.append(Image(name=IMAGE, channels=1, height=tokens, width=channels, patch=0))
        return whole(ValueBase((tokens, channels), IMAGE), shape)

    def _patches(self, x: View, base: ImageBase) -> View:
        """Turn a matrix of pixels into a view of the rows of the one Image layer."""
        layer = image_layer(base, x.shape[1])
        if self._image is None:
            self._image = layer
            self.layers.append(layer)
        if self._image.patch != layer.patch:
            raise UnsupportedError("reads the image by patches of two sizes")
        return view_of_patches(x, layer)

    # ---- pending layers -----------------------------------------------------------------------
    def linear(self, x: View, weight: Array, bias: Array | None = None) -> View:
        """Return the view (tokens, outputs) of a pending linear layer of a matrix `x`."""
        if isinstance(x.base, ImageBase):
            x = self._patches(x, x.base)
        weight = np.asarray(weight, dtype=np.float64)
        if weight.ndim != 2 or weight.shape[0] != x.shape[1]:
            raise UnsupportedError(f"weight of shape {weight.shape}")
        bias = np.zeros(weight.shape[1]) if bias is None else np.asarray(bias, dtype=np.float64)
        f = form(x)
        if isinstance(x.base, ValueBase) and f.same_offset:
            bias = bias + f.offset[0] @ weight
            if not f.plain_columns(x.base.shape[1]):
                spread = np.zeros((x.base.shape[1], weight.shape[1]))
                np.add.at(spread, f.cols, f.gain[:, None] * weight)
                weight = spread
            x = _take(whole(x.base), f.rows)
        shape = (x.shape[0], weight.shape[1])
        return whole(LinearBase(shape, x, weight, np.broadcast_to(bias, shape[1:])))

    def norm(self, x: View, epsilon: float) -> View:
        """Return a pending norm of a tensor over its last axis."""
        matrix = x.matrix()
        return whole(NormBase(matrix.shape, matrix, epsilon), x.shape)

    # ---- settling -----------------------------------------------------------------------------
    def settle(self, view: View, *, drop_bias: bool = False) -> Settled:
        """Make the layers whose value is the matrix `view`.

        With `drop_bias` the layer must be linear and loses its bias.
        """
        if isinstance(view.base, ImageBase):
            view = self._patches(view, view.base)
        f = form(view)
        parts = (f.rows, f.cols, f.gain, f.offset)
        key = (id(view.base), drop_bias, *(part.tobytes() for part in parts))
        if key not in self._settled:
            self._settled[key] = view.base, self._make(view.base, f, drop_bias=drop_bias)
        return self._settled[key][1]

    def branch(self, view: View, *, drop_bias: bool = False) -> Settled:
        """Settle as a linear layer; what is none passes through an identity matrix."""
        if isinstance(view.base, LinearBase) and form(view).same_offset:
            return self.settle(view, drop_bias=drop_bias)
        settled = self.settle(view)
        if isinstance(next(x for x in self.layers if x.name == settled.name), Linear):
            return settled
        return self.settle(self.linear(settled.view(view.shape), np.eye(settled.channels)))

    def _make(self, base: Base, f: Form, *, drop_bias: bool) -> Settled:
        if isinstance(base, LinearBase):
            return self._make_linear(base, f, drop_bias=drop_bias)
        if not f.same_offset:
            return self._make_embed(base, f)
        affine = not f.plain_columns(base.shape[1]) or f.offset.any()
        if isinstance(base, NormBase) and np.array_equal(f.cols, np.arange(base.shape[1])):
            return self._make_norm(base, f)
        if affine or not isinstance(base, ValueBase):
            return self._make_diagonal(base, f)
        if _is_full(f.rows, base.shape[0]):
            return Settled(base.name, f.rows, base.shape[1])
        self._one_token(f.rows, base)
        name = self._name("select")
        self.layers.append(Select(name=name, x=base.name, token=int(f.rows[0])))
        return Settled(name, np.zeros(1, dtype=np.int32), base.shape[1])

    @staticmethod
    def _one_token(rows: Index, base: Base) -> None:
        if len(rows) != 1:
            raise UnsupportedError(f"works on {len(rows)} of {base.shape[0]} tokens")

    def _make_linear(self, base: LinearBase, f: Form, *, drop_bias: bool) -> Settled:
        if not f.same_offset:
            return self._make_embed(base, f)
        x = self.settle(base.x if _is_full(f.rows, base.shape[0]) else _take(base.x, f.rows))
        rows = x.rows[f.rows] if _is_full(f.rows, base.shape[0]) else x.rows
        bias = base.bias[f.cols] * f.gain + f.offset[0]
        weight = base.weight[:, f.cols] * f.gain
        layer = Linear(
            name=self._name("linear"),
            x=x.name,
            weight=_floats(weight),
            bias=_floats(np.zeros_like(bias) if drop_bias else bias),
        )
        self.layers.append(layer)
        return Settled(layer.name, rows, len(f.cols))

    def _make_norm(self, base: NormBase, f: Form) -> Settled:
        full = _is_full(f.rows, base.shape[0])
        x = base.x if full else _take(base.x, f.rows)
        source = form(x)
        plain = source.plain_columns(x.base.shape[1]) and not source.offset.any()
        one = isinstance(x.base, ValueBase) and len(source.rows) == 1 < x.base.shape[0]
        token = int(source.rows[0]) if one and plain else None
        settled = self.settle(x if token is None else whole(x.base))
        layer = Norm(
            name=self._name("norm"),
            x=settled.name,
            gain=_floats(f.gain),
            offset=_floats(f.offset[0]),
            epsilon=base.epsilon,
            token=token,
        )
        self.layers.append(layer)
        single = token is not None or not full
        rows = np.zeros(1, dtype=np.int32) if single else settled.rows[f.rows]
        return Settled(layer.name, rows, len(f.gain))

    def _make_diagonal(self, base: Base, f: Form) -> Settled:
        """Pick and scale columns of a value by a linear layer of its own."""
        plain = self.settle(whole(base))
        x = plain.view(base.shape)
        weight = np.zeros((base.shape[1], len(f.cols)))
        weight[f.cols, np.arange(len(f.cols))] = f.gain
        return self.settle(self.linear(_take(x, f.rows), weight, f.offset[0]))

    def _make_embed(self, base: Base, f: Form) -> Settled:
        """Start the stream: tokens of `base` first, constant tokens last, their first the last."""
        kept = f.rows >= 0
        if not _is_full(f.rows[kept], base.shape[0]):
            self._one_token(f.rows[kept], base)
        rows = whole(base).moved(lambda a: a[f.rows[kept]][:, f.cols])
        x = self.branch(rows.scaled(f.gain))
        places = np.empty(len(kept), dtype=np.int32)
        places[kept] = x.rows
        places[~kept] = np.arange(len(kept) - 1, len(x.rows) - 1, -1)
        table: Reals = np.zeros(f.offset.shape)
        table[places] = f.offset
        name = self._name("embed")
        self.layers.append(Embed(name=name, x=x.name, table=_floats(table)))
        return Settled(name, places, len(f.cols))

    # ---- layers that are made at once ---------------------------------------------------------
    def attention(self, q: View, k: View, v: View, scale: float) -> Settled:
        """Attention of (heads, tokens, channels) each; the result is tokens by heads*channels."""
        heads, tokens, channels = q.shape
        if v.shape != q.shape or k.shape != q.shape:
            raise UnsupportedError(f"attention of shapes {q.shape}, {k.shape} and {v.shape}")

        def flat(x: View) -> View:
            moved = x.moved(lambda a: a.transpose(1, 0, 2))
            return moved.reshaped(tokens, heads * channels)

        query = self.branch(flat(q))
        key = self.branch(flat(k), drop_bias=True)
        value = self.branch(flat(v))
        if not (key.rows == value.rows).all() or not _is_full(query.rows, tokens):
            raise UnsupportedError("attention of tokens in differing order")
        name = self._name("attention")
        self.layers.append(
            Attention(name=name, q=query.name, k=key.name, v=value.name, heads=heads, scale=scale)
        )
        return Settled(name, query.rows, heads * channels)

    def gelu(self, x: View, *, tanh: bool) -> View:
        """GELU of each element."""
        settled = self.branch(x.matrix())
        name = self._name("gelu")
        self.layers.append(Gelu(name=name, x=settled.name, tanh=tanh))
        return Settled(name, settled.rows, settled.channels).view(x.shape)

    def add(self, a: View, b: View) -> View:
        """Residual addition; the branch is whichever is linear."""
        if a.shape != b.shape:
            raise UnsupportedError(f"adds activations of shapes {a.shape} and {b.shape}")
        first, second = self.settle(a.matrix()), self.settle(b.matrix())
        linear = {layer.name for layer in self.layers if isinstance(layer, Linear)}
        if first.name in linear and second.name not in linear:
            first, second = second, first
        elif second.name not in linear:
            second = self.branch(second.view(a.matrix().shape))
        if not (first.rows == second.rows).all():
            raise UnsupportedError("adds tokens in differing order")
        name = self._name("add")
        self.layers.append(Add(name=name, x=second.name, residual=first.name))
        return Settled(name, first.rows, first.channels).view(a.shape)

    def mean(self, x: View) -> View:
        """Mean over the rows of a matrix, (1, channels)."""
        f = form(x)
        if f.same_offset:
            columns = whole(x.base).moved(lambda a: a[:, f.cols])
            settled = self.settle(columns.scaled(f.gain, f.offset[0]))
            rows = settled.rows[f.rows]
        else:
            settled = self.settle(x)
            rows = settled.rows
        if not _is_full(rows, len(rows)):
            raise UnsupportedError(f"averages tokens {rows.min()} to {rows.max()} apart")
        name = self._name("pool")
        self.layers.append(MeanPool(name=name, x=settled.name, tokens=len(rows)))
        return Settled(name, np.zeros(1, dtype=np.int32), settled.channels).view((1, x.shape[1]))
