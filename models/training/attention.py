"""Softmax attention in training, forward and backward; heads of all images are rows of one matrix.

Rows of scores and probabilities are (image, head, query); a head's part of q, k, v and of the
result is a slice of channels.
"""

from dataclasses import dataclass

from moesaic.models.training.builder import Builder, column, full, number
from moesaic.models.training.passes import Combine
from moesaic.models.training.step import Function, Layout, Ref, Tensor, Term


@dataclass(frozen=True, slots=True, kw_only=True)
class Heads:
    """Where a head of an image lies."""

    images: int
    tokens: int
    heads: int
    channels: int  # of all heads

    @property
    def all(self) -> list[tuple[int, int]]:
        """Image and head of each block of scores, in order."""
        return [(image, head) for image in range(self.images) for head in range(self.heads)]

    def part(self, tensor: Tensor, image: int, head: int) -> Ref:
        """Return a head's slice of q, k, v or the result."""
        width = self.channels // self.heads
        return Ref(
            tensor=tensor,
            row=image * self.tokens,
            rows=self.tokens,
            channel=head * width,
            channels=width,
        )

    def block(self, tensor: Tensor, image: int, head: int) -> Ref:
        """Return a head's rows of scores or probabilities."""
        number = image * self.heads + head
        return Ref(tensor=tensor, row=number * self.tokens, rows=self.tokens)


def softmax_forward(b: Builder, name: str, scores: Tensor, scale: float) -> Tensor:
    """Append softmax of ``scale * scores`` row by row; return it as operands."""
    rows, channels = scores.rows, scores.channels
    largest, sums = b.column(f"{name}.largest", rows), b.column(f"{name}.sum", rows)
    shares = b.floats(f"{name}.shares", rows, channels)
    out = b.operands(name, rows, channels)
    b.work(largest.name, scores, row_max=largest)
    b.work(f"{name}.shift", largest, p=number(-scale), out=largest)
    b.work(
        f"{name}.exp",
        scores,
        p=number(scale),
        q=column(largest),
        function=Function.EXP,
        out=shares,
        row_sum=sums,
    )
    b.work(f"{name}.reciprocal", sums, function=Function.RECIPROCAL, out=sums)
    b.work(name, shares, p=column(sums), out=out)
    return out


def attention_forward(
    b: Builder, name: str, q: Tensor, k: Tensor, v: Tensor, heads: Heads, scale: float
) -> Tensor:
    """Append attention of operands (images * tokens, channels); return it as operands."""
    b.stage = "forward"
    rows = heads.images * heads.heads * heads.tokens
    scores = b.floats(f"{name}.scores", rows, heads.tokens)
    for image, head in heads.all:
        left, right = heads.part(q, image, head), heads.part(k, image, head)
        term = Term(left=left, right=right, layout=Layout.COLUMNS)
        b.product(f"{name}.scores.{image}.{head}", heads.block(scores, image, head), term)
    p = softmax_forward(b, f"{name}.softmax", scores, scale)
    mixed = b.floats(f"{name}.mix", q.rows, q.channels)
    for image, head in heads.all:
        term = Term(
            left=heads.block(p, image, head),
            right=heads.part(v, image, head),
            layout=Layout.ROWS,
        )
        b.product(f"{name}.mix.{image}.{head}", heads.part(mixed, image, head), term)
    out = b.operands(name, q.rows, q.channels)
    b.work(name, mixed, out=out)
    return out


def attention_backward(
    b: Builder, name: str, gradient: Tensor, parts: dict[str, Tensor], heads: Heads, scale: float
) -> dict[str, Tensor]:
    """Append the gradients of q, k and v, given that of the result (fp32); return them (fp32).

    ``dp = g @ v.T``, ``dv = p.T @ g``, ``ds = scale * p * (dp - sum(dp * p))``, ``dq = ds @ k``,
    ``dk = ds.T @ q``.
    """
    b.stage = "backward"
    q, k, v = (parts[letter] for letter in "qkv")
    p = b.step.tensors[f"{name}.softmax"]
    g = b.operands(f"{name}.g", gradient.rows, gradient.channels)
    b.work(g.name, gradient, out=g)
    dp = b.floats(f"{name}.dp", p.rows, p.channels)
    for image, head in heads.all:
        term = Term(
            left=heads.part(g, image, head),
            right=heads.part(v, image, head),
            layout=Layout.COLUMNS,
        )
        b.product(f"{name}.dp.{image}.{head}", heads.block(dp, image, head), term)
    inner = b.column(f"{name}.inner", p.rows)
    b.work(inner.name, dp, p=full(p), row_sum=inner)
    b.work(f"{name}.inner.turned", inner, p=number(-1.0), out=inner)
    slope = b.floats(f"{name}.slope", p.rows, p.channels)
    b.work(slope.name, dp, p=full(p), q=column(inner), how=Combine.ADD_MULTIPLY, out=slope)
    ds = b.operands(f"{name}.ds", p.rows, p.channels)
    b.work(ds.name, slope, p=number(scale), out=ds)
    out = {letter: b.floats(f"{name}.d{letter}", q.rows, q.channels) for letter in "qkv"}
    # a head's block is turned by itself: what lies beyond its queries stays zero
    ds_turned = b.operands(f"{name}.ds.turned", p.rows, p.channels)
    p_turned = b.operands(f"{name}.softmax.turned", p.rows, p.channels)
    for image, head in heads.all:
        for source, turned in ((ds, ds_turned), (p, p_turned)):
            block = heads.block(source, image, head)
            to = heads.block(turned, image, head)
            b.work(f"{turned.name}.{image}.{head}", block, out=to, transpose=True)
    for image, head in heads.all:
        for letter, left, right in (
            ("v", heads.block(p_turned, image, head), heads.part(g, image, head)),
            ("q", heads.block(ds, image, head), heads.part(k, image, head)),
            ("k", heads.block(ds_turned, image, head), heads.part(q, image, head)),
        ):
            term = Term(left=left, right=right, layout=Layout.ROWS)
            target = heads.part(out[letter], image, head)
            b.product(f"{name}.d{letter}.{image}.{head}", target, term)
    return out
