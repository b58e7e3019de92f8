"""What may be chosen layer by layer, and what a network on a machine leaves to be chosen."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields

from moesaic.models.errors import InputError

PRODUCT_ORDERS = ("tiles", "first", "rows")
ATTENTION_ORDERS = ("grouped", "rolling")
LARGEST = 1 << 16  # no choice is larger
AHEAD = 64  # steps; rings hold fewer

Value = int | str


@dataclass(frozen=True, slots=True, kw_only=True)
class LayerChoice:
    """Choices of one layer, by the name of its node; what is None is left to the mapper.

    Parameters
    ----------
    tiles : int
        Output tiles of a product whose weights are fetched together, and used by one command.
    rows : int
        Rows of tokens that a command takes; all of them leave the stationary operand in the array
        for all tokens, fewer let the next unit begin earlier.
    order : str
        Of a product that is cut into rows: ``tiles``: each chunk of weights for all rows in turn,
        ``rows``: each group of rows for all chunks in turn, ``first``: only the first chunk is cut.
        Of an attention: ``grouped``: mixes follow the scores of as many heads as are in flight,
        ``rolling``: each mix makes place for the next head's scores.
    ahead : int
        Steps before its own that weights are fetched at the earliest; 0: as the rings allow.
    heads, slots : int
        Of an attention: heads in flight, whose probabilities have a place each; places of scores.
    values : int
        Of an attention: heads whose scores go before the product that makes the values.
    early : int
        Of a routing: experts whose weights are fetched before it is known who has tokens.
    """

    tiles: int | None = None
    rows: int | None = None
    order: str | None = None
    ahead: int | None = None
    heads: int | None = None
    slots: int | None = None
    values: int | None = None
    early: int | None = None

    def __post_init__(self) -> None:
        for knob in KNOBS:
            value = getattr(self, knob)
            if value is None:
                continue
            if knob == "order":
                words = (*PRODUCT_ORDERS, *ATTENTION_ORDERS)
                if value not in words:
                    raise InputError(f"order must be one of {', '.join(words)}, not {value!r:.40}")
            elif type(value) is not int or not 0 <= value <= LARGEST:
                raise InputError(f"{knob} must be an integer in 0..{LARGEST}, not {value!r:.40}")


KNOBS = tuple(field.name for field in fields(LayerChoice))


@dataclass(frozen=True, slots=True, kw_only=True)
class Freedom:
    """A choice that there is: what was chosen, what the mapper takes by itself, what is allowed."""

    chosen: Value
    usual: Value
    allowed: range | tuple[str, ...]


Freedoms = Mapping[str, Mapping[str, Freedom]]
"""The choices that there are, by layer and knob."""


class Choices:
    """Answers a lowering's questions, and notes what was asked.

    Parameters
    ----------
    layers : iterable of (str, LayerChoice)
        What was chosen, by the layer's name.
    """

    def __init__(self, layers: Iterable[tuple[str, LayerChoice]]) -> None:
        self._layers = dict(layers)
        self.freedoms: dict[str, dict[str, Freedom]] = {}

    def number(self, layer: str, knob: str, usual: int, allowed: range) -> int:
        """Return a layer's number; InputError where it is not in the range."""
        chosen = getattr(self._layers.get(layer), knob, None)
        value = usual if chosen is None else int(chosen)
        if value not in allowed and chosen is not None:
            raise InputError(
                f"layers: {layer}: {knob} must be in {allowed.start}..{allowed.stop - 1}, "
                f"not {value}"
            )
        self._note(layer, knob, Freedom(chosen=value, usual=usual, allowed=allowed))
        return value

    def word(self, layer: str, knob: str, allowed: tuple[str, ...]) -> str:
        """Return a layer's word, the first of the allowed ones by default."""
        chosen = getattr(self._layers.get(layer), knob, None)
        value = allowed[0] if chosen is None else str(chosen)
        if value not in allowed:
            raise InputError(
                f"layers: {layer}: {knob} must be one of {', '.join(allowed)}, not {value!r:.40}"
            )
        self._note(layer, knob, Freedom(chosen=value, usual=allowed[0], allowed=allowed))
        return value

    def check(self, names: Iterable[str]) -> None:
        """Raise InputError if a choice was made that nobody asked for; `names` are all layers."""
        known = set(names)
        for layer, choice in self._layers.items():
            asked = self.freedoms.get(layer, {})
            for knob in KNOBS:
                if getattr(choice, knob) is not None and knob not in asked:
                    if layer not in known:
                        raise InputError(f"layers: {layer!r:.80} is no layer of the network")
                    there = f"allowed are {', '.join(asked)}" if asked else "it has none"
                    raise InputError(f"layers: {layer}: {knob} is no choice of it, {there}")

    def _note(self, layer: str, knob: str, freedom: Freedom) -> None:
        self.freedoms.setdefault(layer, {})[knob] = freedom
