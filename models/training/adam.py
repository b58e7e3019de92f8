"""Adam as passes (Kingma and Ba 2015, arXiv 1412.6980, algorithm 1), as `torch.optim.Adam` does it.

With the gradient g of step t (weight decay added to it), the state is two sums, which are the
paper's moments without their factors ``1 - beta``:

    m = beta1 * m + g        first moment:  (1 - beta1) * m
    s = beta2 * s + g * g    second moment: (1 - beta2) * s

A sum's factor over the bias correction is ``c_i = (1 - beta_i) / (1 - beta_i ** t)``, and torch's
``w - rate * (c1 * m) / (sqrt(c2 * s) + epsilon)`` becomes, with both parts over ``sqrt(c2)``,

    w' = w - (rate * c1 / sqrt(c2)) * m / (s * rsqrt(s + TINY) + epsilon / sqrt(c2))

The two numbers that t changes are rows that the host writes before each step, so that one program
does for all steps. ``s * rsqrt(s + TINY)`` is +0 at s = 0, where ``sqrt`` would be 0 * infinity: a
parameter that never had a gradient stays what it is. TINY moves no root by more than 3.3e-20.
"""

import numpy as np

from moesaic.models.training.builder import Builder, full, number, row
from moesaic.models.training.execute import Value
from moesaic.models.training.optimiser import Optimiser
from moesaic.models.training.step import Function, Kind, Operand, Ref, Role, Step, Tensor

CORRECTION = "adam.correction"
RATE, EPSILON = 0, 1  # its rows
TINY = 2.0**-126


def by_size(b: Builder, name: str, pull: Tensor, first: Tensor) -> tuple[Tensor, Operand]:
    """Append the second moment's update and the first's division by its root.

    Parameters
    ----------
    name : str
        Of the parameter; its second moment is ``<name>.second``, the new one
        ``<name>.second.next``. A square that is not finite makes the step overflow.
    pull : Tensor
        The gradient.
    first : Tensor
        The new first moment.

    Returns
    -------
    Tensor
        What the weight moves by, but for the rate.
    Operand
        Minus the step's rate.
    """
    rows, channels = pull.rows, pull.channels
    old = b.floats(f"{name}.second", rows, channels, Role.STATE)
    second = b.floats(f"{name}.second.next", rows, channels, Role.NEXT)
    step = b.floats(f"{name}.step", rows, channels)
    b.work(f"{name}.second.kept", old, p=number(b.optimiser.beta2), out=second)
    b.work(second.name, pull, p=full(pull), q=full(second), out=second, watch=True)
    b.work(f"{name}.root", second, q=number(TINY), function=Function.RSQRT, out=step)
    b.work(
        f"{name}.size",
        second,
        p=full(step),
        q=_corrected(b, EPSILON, channels),
        function=Function.RECIPROCAL,
        out=step,
    )
    b.work(step.name, first, p=full(step), out=step)
    return step, _corrected(b, RATE, channels)


def _corrected(b: Builder, which: int, channels: int) -> Operand:
    """Return one of the step's two numbers; their rows are as long as the longest parameter's."""
    tensors = b.step.tensors
    if CORRECTION not in tensors:
        state = [t for t in tensors.values() if t.role == Role.STATE and t.kind == Kind.FLOAT]
        b.floats(CORRECTION, 2, max(t.channels for t in state), Role.INPUT)
    return row(Ref(tensor=tensors[CORRECTION], row=which, rows=1, channels=channels))


def corrections(step: Step, optimiser: Optimiser, number: int) -> dict[str, Value]:
    """Return what the host writes before a step: nothing for SGD.

    Parameters
    ----------
    number : int
        1 for the first step; those that overflowed do not count.
    """
    if CORRECTION not in step.tensors:
        return {}
    # betas as the machine multiplies by them, so that what is kept and what is added sum to 1
    beta1, beta2 = (float(np.float32(beta)) for beta in (optimiser.beta1, optimiser.beta2))
    c1, c2 = ((1 - beta) / (1 - beta**number) for beta in (beta1, beta2))
    rows = np.empty((2, step.tensors[CORRECTION].channels), dtype=np.float32)
    rows[RATE] = -optimiser.rate * c1 / np.sqrt(c2)
    rows[EPSILON] = optimiser.epsilon / np.sqrt(c2)
    return {CORRECTION: rows}
