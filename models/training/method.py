"""Sparse training methods: which of a layer's operands are N:M, and along which dimension."""

from dataclasses import dataclass

from moesaic.models.accel import NM
from moesaic.models.errors import InputError

METHODS = ("dense", "srste", "sdgp", "sdwp", "bdwp")
UPDATE_NM = NM(n=2, m=4)


@dataclass(frozen=True, slots=True, kw_only=True)
class Method:
    """A method with its N:M.

    Parameters
    ----------
    name : str
        ``dense``; ``bdwp``: weights along the inputs forward and, on their own, along the outputs
        backward; ``sdwp``: backward alone; ``srste``: forward, and the pruned weights decay;
        ``sdgp``: the output's gradient, backward (arXiv 2309.13015 and what it compares with).
    nm : NM, optional
        None for ``dense`` alone.
    decay : float
        What pruned weights lose of themselves through the gradient, ``srste`` and ``bdwp``.
    update : NM, optional
        2:4, ``bdwp`` alone: the output's gradient in the product that gives the weights', along
        the tokens, at random and without bias. Linear layers only.
    """

    name: str = "dense"
    nm: NM | None = None
    decay: float = 0.0
    update: NM | None = None

    def __post_init__(self) -> None:
        if self.name not in METHODS:
            raise InputError(f"method must be one of {', '.join(METHODS)}, not {self.name!r:.40}")
        if (self.nm is None) != (self.name == "dense"):
            raise InputError(f"nm must be N:M for a sparse method alone, not {self.nm}")
        if self.update is not None and self.name != "bdwp":
            raise InputError(f"update must be left out unless method is bdwp, not {self.update}")
        if self.update not in (None, UPDATE_NM):
            raise InputError(f"update must be {UPDATE_NM}, not {self.update}")

    @property
    def forward(self) -> NM | None:
        """Weights of the forward product."""
        return self.nm if self.name in ("bdwp", "srste") else None

    @property
    def backward(self) -> NM | None:
        """Weights of the product that gives the input's gradient."""
        return self.nm if self.name in ("bdwp", "sdwp") else None

    @property
    def gradient(self) -> NM | None:
        """The output's gradient in that product."""
        return self.nm if self.name == "sdgp" else None
