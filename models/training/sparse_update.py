"""A linear layer's weight gradient from an output gradient that is 2:4 at random, without bias.

Of each pair of tokens (2k, 2k + 1), an output's gradient keeps one value: a with the chance
``|a| / (|a| + |b|)``, as ``sign(a) * (|a| + |b|)``, else b in the same way. Its expectation is the
gradient, and of all choices of one in two without bias none varies less: the variance is ``|a||b|``
for either (Chmiel et al. 2022, arXiv 2203.10991, section 4, with N = 1 and M = 2). Two such pairs
are a 2:4 group. It is not the best choice of two in four, which `models/torch_zoo/mvue.py` draws:
that one needs the largest of a group and has three cases, many more passes.

One uniform number decides for all outputs of a pair: a weight's gradient sums over the pairs of one
output, so each has the same expectation and variance as with numbers of its own, and the machine
reads a number for each pair instead of one for each value. The host writes them before each step.
"""

import numpy as np

from moesaic.models.errors import InputError
from moesaic.models.training.builder import Builder, column, full, number, whole
from moesaic.models.training.execute import Value
from moesaic.models.training.matrix import Matrix
from moesaic.models.training.passes import Combine
from moesaic.models.training.step import ZERO, Kind, Layout, Pack, Ref, Role, Step, Tensor, Term

RANDOM = ".random"
DRAW_BITS = 23  # so that a number and its place in the middle of an interval are exact in fp32


def sparse_weight_gradient(b: Builder, matrix: Matrix, x: Ref, gradient: Tensor | Ref) -> Tensor:
    """Append ``dW = (x.T @ g').T``, with g' what is kept of the gradient; return it (fp32).

    The array holds g', packed along the tokens; the inputs pass by. The layers that read `x` share
    what it looks like turned.
    """
    name, nm = matrix.name, matrix.method.update
    b.stage = "weight_update"
    if x.rows % 2:
        raise InputError(f"batch times tokens must be even for an update of {nm}, not {x.rows}")
    packed = b.step.tensor(f"{name}.g.packed", matrix.outputs, x.rows, Kind.WEIGHTS, nm=nm)
    chosen = one_of_each_pair(b, name, whole(gradient))
    b.step.ops.append(Pack(name=packed.name, stage=b.stage, a=whole(chosen), out=packed, nm=nm))
    key = f"{x.tensor.name}.by_channel"
    turned = b.step.tensors.get(key)
    if turned is None:
        turned = b.operands(key, matrix.inputs, x.rows)
        b.work(key, x, out=turned, transpose=True)
    lying = b.floats(f"{name}.weight.gradient.turned", matrix.inputs, matrix.outputs)
    term = Term(left=whole(turned), right=whole(packed), layout=Layout.WEIGHTS)
    b.product(lying.name, lying, term)
    out = b.floats(f"{name}.weight.gradient", matrix.outputs, matrix.inputs)
    b.work(out.name, lying, out=out, transpose=True)
    return out


def one_of_each_pair(b: Builder, name: str, gradient: Ref) -> Tensor:
    """Append the choice; return it turned: (outputs, tokens) of fp32, one of each pair +0.

    With S twice the sum of a pair's magnitudes and u the number that decides, ``t = S * u / 2``: a
    is kept where ``|a| > t``, b where ``t > |a|``, both as S. Last, the sign: S where the gradient
    is above 0, less S / 2.
    """
    rows, outputs = gradient.shape
    pairs = rows // 2
    random, halves = (
        b.floats(name + RANDOM, 1, pairs, Role.INPUT),
        b.column(f"{name}.halves", pairs),
    )
    size = b.floats(f"{name}.g.size", rows, outputs)
    a, other = (Ref(tensor=size, row=row, rows=pairs, step=2) for row in (0, 1))
    double = b.floats(f"{name}.g.double", pairs, outputs)
    limit = b.floats(f"{name}.g.limit", pairs, outputs)
    positive = b.floats(f"{name}.g.positive", rows, outputs)
    chosen = b.floats(f"{name}.g.chosen", outputs, rows)
    b.work(halves.name, random, out=halves)
    b.work(f"{name}.g.minus", gradient, p=number(-1.0), out=size)
    b.work(size.name, gradient, q=full(size), how=Combine.MAXIMUM, out=size)
    b.work(double.name, a, q=full(other), p=number(2.0), how=Combine.ADD_MULTIPLY, out=double)
    b.work(limit.name, double, p=column(halves), out=limit)
    greater = Combine.GREATER
    b.work(f"{name}.g.odd", limit, q=full(a), p=full(double), how=greater, out=other)
    b.work(f"{name}.g.even", a, q=full(limit), p=full(double), how=greater, out=a)
    b.work(positive.name, gradient, q=ZERO, p=full(size), how=greater, out=positive)
    b.work(chosen.name, size, p=number(-0.5), q=full(positive), out=chosen, transpose=True)
    return chosen


def draws(step: Step, seed: int, number: int) -> dict[str, Value]:
    """Return what the host writes before step `number`: halves of uniform numbers, by layer.

    A number is the middle of one of ``2**DRAW_BITS`` intervals, never 0 or 1. They are those of
    Philox (Salmon et al. 2011, "Parallel random numbers: as easy as 1, 2, 3") with `seed` as its
    key, counting from layer and step: the same on every machine, in any order.
    """
    out: dict[str, Value] = {}
    wanted = [t for t in step.tensors.values() if t.name.endswith(RANDOM)]
    for place, tensor in enumerate(wanted):
        bits = np.random.Philox(key=seed, counter=[0, 0, place, number])
        drawn = bits.random_raw(tensor.channels) >> (64 - DRAW_BITS)
        out[tensor.name] = np.ldexp(2.0 * drawn[np.newaxis] + 1, -DRAW_BITS - 2).astype(np.float32)
    return out
