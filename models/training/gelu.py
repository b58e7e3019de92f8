"""GELU in training: its tanh form, which is a sigmoid, forward and backward, as passes.

``gelu(u) = u * s`` with ``s = 1 / (1 + exp(-2 * sqrt(2 / pi) * (u + 0.044715 * u**3)))``: Hendrycks
and Gimpel 2016, section 2, with ``(1 + tanh(v)) / 2 = 1 / (1 + exp(-2 * v))``.
"""

from math import pi, sqrt

from moesaic.models.training.builder import Builder, full, number
from moesaic.models.training.step import ONE, Function, Tensor

LINEAR = 2 * sqrt(2 / pi)
CUBIC = LINEAR * 0.044715


def gelu_forward(b: Builder, name: str, u: Tensor) -> Tensor:
    """Append GELU of `u` (fp32); return it as operands. `u` and the sigmoid are kept."""
    b.stage = "forward"
    rows, channels = u.rows, u.channels
    inner = b.floats(f"{name}.inner", rows, channels)
    sigmoid = b.operands(f"{name}.sigmoid", rows, channels)
    kept = b.operands(f"{name}.input", rows, channels)
    out = b.operands(name, rows, channels)
    b.work(kept.name, u, out=kept)
    b.work(f"{name}.square", u, p=full(u), out=inner)
    b.work(inner.name, inner, p=number(-CUBIC), q=number(-LINEAR), out=inner)
    b.work(f"{name}.exp", inner, p=full(u), function=Function.EXP, out=inner)
    b.work(f"{name}.s", inner, q=number(1.0), function=Function.RECIPROCAL, out=inner)
    b.work(sigmoid.name, inner, out=sigmoid)
    b.work(name, inner, p=full(u), out=out)
    return out


def gelu_backward(b: Builder, name: str, gradient: Tensor) -> Tensor:
    """Append ``gradient * (s + u * s * (1 - s) * (LINEAR + 3 * CUBIC * u * u))``; return it."""
    b.stage = "backward"
    rows, channels = gradient.rows, gradient.channels
    u, s = b.step.tensors[f"{name}.input"], b.step.tensors[f"{name}.sigmoid"]
    slope = b.floats(f"{name}.slope", rows, channels)
    rest = b.floats(f"{name}.rest", rows, channels)
    b.work(f"{name}.u.square", u, p=full(u), out=slope)
    b.work(f"{name}.u.slope", slope, p=number(3 * CUBIC), q=number(LINEAR), out=slope)
    b.work(f"{name}.u.times", slope, p=full(u), out=slope)
    b.work(rest.name, s, p=number(-1.0), q=ONE, out=rest)
    b.work(f"{name}.s.rest", rest, p=full(s), out=rest)
    b.work(slope.name, slope, p=full(rest), q=full(s), out=slope)
    b.work(f"{name}.gradient", gradient, p=full(slope), out=slope)
    return slope
