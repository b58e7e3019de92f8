"""The publication's rules in exact fractions, one number at a time: nothing shared with models."""

from collections.abc import Iterable
from decimal import Decimal, localcontext
from fractions import Fraction
from itertools import starmap
from math import floor, isqrt
from operator import mul
from typing import Any

from moesaic.models.float_run import cut_patches
from moesaic.models.network import (
    Add,
    Attention,
    Embed,
    Experts,
    Gate,
    Gelu,
    Image,
    Linear,
    Network,
    Norm,
)
from moesaic.models.published_fixed import (
    gelu_table,
)

Row = list[Fraction]
Rows = list[Row]
UNIT = Fraction(1, 1 << 22)


def feature(x: Fraction) -> Fraction:
    """Round down to 22 bits behind the point, keep 32 bits."""
    code = floor(x * 2**22) % 2**32
    return Fraction(code - 2**32 if code >= 2**31 else code, 2**22)


def parameter(x: float, integer_bits: int) -> Fraction:
    """Round down to 16 bits, saturate."""
    scale = 2 ** (16 - integer_bits)
    return Fraction(max(-(2**15), min(2**15 - 1, floor(Fraction(float(x)) * scale))), scale)


def power(x: Fraction) -> Fraction:
    with localcontext() as context:
        context.prec = 60
        return Fraction((Decimal(x.numerator) / Decimal(x.denominator)).exp())


def dot(a: Iterable[Fraction], b: Iterable[Fraction], start: Fraction = Fraction(0)) -> Fraction:
    """Add products one by one, each sum a feature."""
    for product in starmap(mul, zip(a, b, strict=True)):
        start = feature(start + product)
    return start


def linear(rows: Rows, weight: Any, bias: Any, weight_bits: int, bias_bits: int) -> Rows:
    columns = [[parameter(w, weight_bits) for w in column] for column in weight.T]
    first = [parameter(b, bias_bits) for b in bias]
    return [[dot(row, c, b) for c, b in zip(columns, first, strict=True)] for row in rows]


def norm(rows: Rows, layer: Norm) -> Rows:
    n, out = len(rows[0]), []
    for row in rows:
        terms = [feature(x * feature(Fraction(1, n))) for x in row]
        mean = feature(sum(terms, Fraction(0)))
        square = dot(row, terms)
        variance = feature(square - feature(mean * mean) + feature(Fraction(layer.epsilon)))
        variance = max(variance, UNIT)  # it is zero or less only if something wrapped
        deviation = Fraction(isqrt(floor(variance * 2**44)), 2**22)
        inverse = feature(1 / deviation)
        line = []
        for x, gain, offset in zip(row, layer.gain, layer.offset, strict=True):
            y = feature(feature(x - mean) * inverse)
            line.append(feature(feature(y * parameter(gain, 5)) + parameter(offset, 5)))
        out.append(line)
    return out


def statistics(scores: Row) -> tuple[Fraction, Fraction]:
    """Sum and bias as the publication keeps them, from -512 and 0."""
    total, bias = Fraction(0), Fraction(-512)
    for x in scores:
        if x > bias:
            # the first argument may wrap; it is multiplied by zero
            shrink = feature(power(bias - x)) if total else Fraction(0)
            total, bias = feature(feature(total * shrink) + 1), x
        else:
            total = feature(total + feature(power(x - bias)))
    return total, bias


def attention(q: Rows, k: Rows, v: Rows, heads: int, scale: float) -> Rows:
    size = len(q[0]) // heads
    out: Rows = [[] for _ in q]
    for head in range(heads):
        part = slice(head * size, (head + 1) * size)
        for place, query in enumerate(q):
            scores = []
            for key in k:
                score = Fraction(0)
                for first in range(part.start, part.stop, 8):
                    block = slice(first, min(first + 8, part.stop))
                    partial = dot(query[block], key[block])
                    score = feature(score + feature(partial * feature(Fraction(scale))))
                scores.append(score)
            slot = place % 4
            total, bias = statistics(scores[slot:] + scores[:slot])
            inverse = feature(1 / total)
            weights = [feature(feature(power(s - bias)) * inverse) for s in scores]
            out[place] += [
                dot(weights, [row[c] for row in v]) for c in range(part.start, part.stop)
            ]
    return out


def gelu_of(x: Fraction) -> Fraction:
    magnitude = abs(x)
    relu = max(x, Fraction(0))
    if magnitude >= Fraction(11, 2):
        return relu
    place = floor(magnitude * 32)
    left, right = (Fraction(int(gelu_table()[i]), 2**22) for i in (place, place + 1))
    return relu - feature(left + (magnitude * 32 - place) * (right - left))


def gate(rows: Rows, layer: Gate) -> Rows:
    out = []
    for logits in linear(rows, layer.weight, 0 * layer.weight[0], 2, 5):
        total, bias = statistics(logits)
        best = sorted(range(len(logits)), key=lambda e: (-logits[e], e))[: layer.top]
        out.append(
            [
                feature(feature(power(x - bias)) / total) if e in best else Fraction(0)
                for e, x in enumerate(logits)
            ]
        )
    return out


def experts(rows: Rows, scores: Rows, layer: Experts) -> Rows:
    out = []
    for row, score in zip(rows, scores, strict=True):
        total = [Fraction(0)] * len(layer.bias[0])
        for e, weight in enumerate(score):
            if weight:
                (hidden,) = linear([row], layer.hidden_weight[e], layer.hidden_bias[e], 2, 5)
                active = [gelu_of(x) for x in hidden]
                (y,) = linear([active], layer.weight[e], layer.bias[e], 2, 5)
                total = [feature(t + feature(weight * x)) for t, x in zip(total, y, strict=True)]
        out.append(total)
    return out


def oracle(network: Network, image: Any, until: str = "") -> dict[str, Rows]:
    """Run the form `experts` of the sample networks, up to the layer `until`."""
    values: dict[str, Rows] = {}
    for layer in network.layers:
        name, x = layer.name, values.get(getattr(layer, "x", ""), [])
        match layer:
            case Linear():
                around = any(name.endswith(part) for part in (".q", ".k", ".v", ".proj"))
                bits = (0 if layer.x == "image" else 2, 7 if around else 5)
                values[name] = linear(x, layer.weight, layer.bias, *bits)
            case Embed():
                table = [[feature(Fraction(float(t))) for t in row] for row in layer.table]
                rows = zip(x, table, strict=False)
                added = [[feature(a + b) for a, b in zip(*r, strict=True)] for r in rows]
                values[name] = added + table[len(x) :]
            case Norm():
                values[name] = norm(x, layer)
            case Gate():
                values[name] = gate(x, layer)
            case Experts():
                values[name] = experts(x, values[layer.gate], layer)
            case Image():
                rows = cut_patches(image[None], layer.patch)[0]
                values[name] = [[feature(Fraction(float(p))) for p in row] for row in rows]
            case Attention():
                q, k, v = (values[part] for part in (layer.q, layer.k, layer.v))
                values[name] = attention(q, k, v, layer.heads, layer.scale)
            case Gelu():
                values[name] = [[gelu_of(value) for value in row] for row in x]
            case Add():
                pairs = zip(x, values[layer.residual], strict=True)
                values[name] = [[feature(a + b) for a, b in zip(*p, strict=True)] for p in pairs]
        if name == until:
            break
    return values
