"""The weight update: SGD with momentum or Adam, in fp32, after the loss is scaled back."""

from moesaic.models.training.adam import by_size
from moesaic.models.training.builder import Builder, full, number
from moesaic.models.training.optimiser import ADAM
from moesaic.models.training.step import Ref, Role, Tensor


def update(
    b: Builder, name: str, weight: Tensor, gradient: Tensor | Ref, *, decay: float = 0.0
) -> Tensor:
    """Append ``m' = momentum * m + (gradient / scale + decay * w)``, ``w' = w - rate * m'``.

    With Adam, `momentum` is beta1, and ``m'`` is first divided by the root of the mean square:
    :mod:`.adam`.

    Parameters
    ----------
    name : str
        Of the parameter; its momentum is ``<name>.momentum``, what comes out ``<name>.next`` and
        ``<name>.momentum.next``.
    weight : Tensor
        Of role STATE.
    gradient : Tensor or Ref
        Of the scaled loss.
    decay : float
        Weight decay.

    Returns
    -------
    Tensor
        The new weight.
    """
    b.stage = "optimizer"
    rows, channels = weight.rows, weight.channels
    momentum = b.floats(f"{name}.momentum", rows, channels, Role.STATE)
    speed = b.floats(f"{name}.momentum.next", rows, channels, Role.NEXT)
    new = b.floats(f"{name}.next", rows, channels, Role.NEXT)
    how = b.optimiser
    adam = how.kind == ADAM
    pull = b.floats(f"{name}.pull", rows, channels)
    if decay:
        b.work(f"{name}.decay", weight, p=number(decay), out=pull)
        scaled, start = 1 / how.loss_scale, full(pull)
        b.work(pull.name, gradient, p=number(scaled), q=start, out=pull, watch=True)
    else:
        b.work(pull.name, gradient, p=number(1 / how.loss_scale), out=pull, watch=True)
    keep = number(how.beta1 if adam else how.momentum)
    b.work(speed.name, momentum, p=keep, q=full(pull), out=speed)
    step, rate = speed, number(-how.rate)
    if adam:
        step, rate = by_size(b, name, pull, speed)
    b.work(new.name, step, p=rate, q=full(weight), out=new)
    return new


def vector(b: Builder, name: str, channels: int) -> Tensor:
    """Enter a parameter of one row, such as a bias."""
    return b.floats(name, 1, channels, Role.STATE)
