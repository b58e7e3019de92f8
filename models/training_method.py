"""How a training step is made sparse: dense, bdwp, srste, sdgp or sdwp, layer by layer.

A layer multiplies three times in a step, with W (outputs, inputs), X (tokens, inputs) and the
output's gradient G (tokens, outputs); a convolution does so for each kernel position:

    forward        Y  = X · Wfᵀ     contraction along the inputs
    backward       dX = G · Wb      contraction along the outputs
    weight update  dW = Gᵀ · X      contraction along the tokens

Each operand that is pruned has N:M groups along the contraction of its own product, by magnitude,
the lowest index of equals; groups that a size leaves open are filled up with zeros (`sparse.py`).
The gradient dW goes straight through to all of W, which stays dense.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from fnmatch import fnmatchcase
from typing import Any, Protocol

from moesaic.models.accel import NM
from moesaic.models.errors import InputError

METHODS = ("dense", "bdwp", "srste", "sdgp", "sdwp")
SRSTE_DECAY = 2e-4
FIRST, CLASSIFIER = "first", "classifier"
UPDATE_NM = NM(n=2, m=4)
_DECAYING = ("bdwp", "srste")


@dataclass(frozen=True, slots=True, kw_only=True)
class WeightLayer:
    """A layer that multiplies by weights: `kernel` by `kernel` positions; 1 for a linear layer."""

    name: str
    inputs: int
    outputs: int
    kernel: int = 1


class HasWeightLayers(Protocol):
    """A network's sizes that can say what its layers with weights are."""

    @property
    def weight_layers(self) -> tuple[WeightLayer, ...]:
        """The layers in the order of the network: first layer first, classifier last."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LayerRule:
    """What is pruned in one layer's step; None means dense.

    `forward` prunes W along the inputs for Y; `backward` prunes W along the outputs for dX, unless
    `shared`, where dX takes the forward's weights as they are; `gradient` prunes G along the
    outputs for dX, with `rescale` keeping sums of magnitudes; `update` prunes G along the tokens
    for dW, at random and without bias. `decay` times W is added to dW where the forward prunes.
    """

    forward: NM | None = None
    backward: NM | None = None
    shared: bool = False
    gradient: NM | None = None
    rescale: bool = False
    update: NM | None = None
    decay: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class MethodSpec:
    """A method of sparse training with its switches; the keys of a recipe's `method`.

    Attributes
    ----------
    method
        ``dense``; ``bdwp``, forward and backward weights with independent masks (Fang et al. 2023,
        arXiv 2309.13015); ``srste``, forward weights, dX by the same ones (Zhou et al. 2021, arXiv
        2102.04010, equation 9); ``sdgp``, the gradient for dX (McDanel et al. 2022, arXiv
        2202.00774); ``sdwp``, the weights for dX.
    nm
        Such as "2:8"; not with ``dense``.
    decay
        Pulls weights that the forward prunes to zero, through the gradient; ``bdwp`` and ``srste``.
        By default 0.0002 for ``srste`` and 0 for ``bdwp``.
    refresh
        Steps from one choice of the weights' masks to the next.
    rescale
        ``sdgp`` only: what is left of a channel's gradient is scaled to the sum of magnitudes that
        the channel had (over the tokens or pixels of one image).
    update
        "2:4", ``bdwp`` only: G is pruned for dW by the unbiased estimator of least variance
        (Chmiel et al. 2022, arXiv 2203.10991; for weights in Hu et al. 2024, arXiv 2404.01847).
    exceptions
        Layers that stay dense: ``first``, ``classifier``, or names with ``*`` for any letters.
    """

    method: str
    nm: str | None = None
    decay: float | None = None
    refresh: int = 1
    rescale: bool = False
    update: str | None = None
    exceptions: tuple[str, ...] = (FIRST, CLASSIFIER)

    def __post_init__(self) -> None:
        if self.method not in METHODS:
            _refuse("method", f"one of {', '.join(METHODS)}", self.method)
        if self.method == "dense" and self.nm is not None:
            _refuse("nm", "left out where method is dense", self.nm)
        if self.method != "dense":
            if not isinstance(self.nm, str):
                _refuse("nm", f"N:M such as '2:8' for {self.method}", self.nm)
            try:
                NM.parse(self.nm)
            except InputError as error:
                raise InputError(f"method.nm: {error}") from None
        if self.decay is not None:
            if self.method not in _DECAYING:
                _refuse("decay", f"left out unless method is {' or '.join(_DECAYING)}", self.decay)
            if type(self.decay) not in (int, float) or not 0 <= self.decay <= 1:
                _refuse("decay", "a number in 0..1", self.decay)
        if type(self.refresh) is not int or not 1 <= self.refresh <= 1_000_000:
            _refuse("refresh", "an integer in 1..1000000", self.refresh)
        if type(self.rescale) is not bool or (self.rescale and self.method != "sdgp"):
            _refuse("rescale", "false, or true where method is sdgp", self.rescale)
        if self.update is not None and (self.method != "bdwp" or self.update != str(UPDATE_NM)):
            _refuse("update", f"left out, or '{UPDATE_NM}' where method is bdwp", self.update)
        if not all(isinstance(name, str) and name for name in self.exceptions):
            _refuse("exceptions", "a list of layers' names", list(self.exceptions))

    @classmethod
    def from_mapping(cls, values: object) -> "MethodSpec":
        """Build from parsed YAML; InputError names the field, the value and what is allowed."""
        known = [field.name for field in fields(cls)]
        if not isinstance(values, Mapping):
            raise InputError(f"method must be a mapping with the keys {known}, not {values!r:.60}")
        for key in values:
            if key not in known:
                raise InputError(f"unknown key {key!r:.60} in method; allowed are {known}")
        if "method" not in values:
            raise InputError("method.method is missing")
        arguments: dict[str, Any] = dict(values)
        if "exceptions" in arguments:
            if not isinstance(arguments["exceptions"], list):
                _refuse("exceptions", "a list of layers' names", arguments["exceptions"])
            arguments["exceptions"] = tuple(arguments["exceptions"])
        return cls(**arguments)

    @property
    def rule(self) -> LayerRule:
        """What is pruned in every layer that is no exception."""
        if self.method == "dense" or self.nm is None:
            return LayerRule()
        nm = NM.parse(self.nm)
        match self.method:
            case "bdwp":
                update = None if self.update is None else NM.parse(self.update)
                return LayerRule(forward=nm, backward=nm, update=update, decay=self.decay or 0.0)
            case "srste":
                decay = SRSTE_DECAY if self.decay is None else self.decay
                return LayerRule(forward=nm, shared=True, decay=decay)
            case "sdgp":
                return LayerRule(gradient=nm, rescale=self.rescale)
            case _:
                return LayerRule(backward=nm)

    def rules(self, layers: Sequence[WeightLayer]) -> dict[str, LayerRule]:
        """Return each layer's rule by its name; InputError for an exception that names none."""
        names = [layer.name for layer in layers]
        dense: set[str] = set()
        for exception in self.exceptions:
            places = {FIRST: names[:1], CLASSIFIER: names[-1:]}
            found = places.get(exception, [n for n in names if fnmatchcase(n, exception)])
            if not found:
                _refuse("exceptions", f"of {FIRST}, {CLASSIFIER}, {', '.join(names)}", exception)
            dense.update(found)
        return {name: LayerRule() if name in dense else self.rule for name in names}


def _refuse(field: str, allowed: str, value: object) -> None:
    raise InputError(f"method.{field} must be {allowed}, not {value!r:.60}")
