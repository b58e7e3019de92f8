"""What a training step does with gradients: SGD with momentum, or Adam."""

from dataclasses import dataclass

from moesaic.models.errors import InputError

SGD, ADAM = "sgd", "adam"
RATES = {SGD: 0.05, ADAM: 1e-3}
"""Kinds of optimisers, and the rates that `moesaic step` takes where none is given."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Optimiser:
    """SGD or Adam, with weight decay on matrices; the loss is scaled by a power of two.

    Parameters
    ----------
    kind : str
        ``sgd`` or ``adam``.
    rate : float
        Learning rate.
    momentum : float
        Of SGD.
    decay : float
        Weight decay: what is added to the gradient for each unit of weight, before momentum or
        moments, as `torch.optim.SGD` and `torch.optim.Adam` (not AdamW) do.
    loss_scale : float
        What the loss is multiplied by, and the gradient divided by again.
    beta1, beta2 : float
        What Adam's first and second moment keep of themselves, in 0..1, below 1 as fp32.
    epsilon : float
        What Adam adds to the root of the second moment, 1e-15..1.
    """

    kind: str = SGD
    rate: float = RATES[SGD]
    momentum: float = 0.9
    decay: float = 5e-4
    loss_scale: float = 1024.0
    beta1: float = 0.9
    beta2: float = 0.999
    epsilon: float = 1e-8

    def __post_init__(self) -> None:
        if self.kind not in RATES:
            raise InputError(f"optimiser must be one of {', '.join(RATES)}, not {self.kind!r:.40}")
        for name in ("beta1", "beta2"):
            if not 0 <= getattr(self, name) <= 1 - 2**-20:
                raise InputError(f"{name} must be in 0..{1 - 2**-20}, not {getattr(self, name)}")
        if not 1e-15 <= self.epsilon <= 1:
            raise InputError(f"epsilon must be in 1e-15..1, not {self.epsilon}")
