"""The units by kind, and units from texts such as ``data_bits=16``."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import fields
from typing import Any

from moesaic.hls_templates.attention import Attention
from moesaic.hls_templates.block import Block
from moesaic.hls_templates.gate import Gate
from moesaic.hls_templates.gelu import Gelu
from moesaic.hls_templates.layernorm import LayerNorm
from moesaic.hls_templates.product import ProductTile
from moesaic.hls_templates.requantise import Requantise
from moesaic.hls_templates.select import Select
from moesaic.hls_templates.softmax import Softmax
from moesaic.hls_templates.unit import Unit
from moesaic.models.accel import NM
from moesaic.models.bounds import check_range
from moesaic.models.errors import InputError
from moesaic.models.input_matrix import input_matrices
from moesaic.models.quantise import quantise
from moesaic.models.zoo import load_model

KINDS: Mapping[str, type[Unit]] = {
    kind.kind: kind
    for kind in (Requantise, ProductTile, Softmax, Gelu, LayerNorm, Gate, Attention, Select)
}
"""All units but the block, which is made of a network."""

MOST_IMAGES = 100
LONGEST = 9  # digits of a number


def parameters(kind: str) -> list[str]:
    """Return the names of a unit's parameters."""
    return [field.name for field in fields(KINDS[kind]) if field.name != "label"]


def unit_of(kind: str, settings: Iterable[str]) -> Unit:
    """Return a unit of `kind` with settings such as ``lanes=8``, ``nm=2:8`` or ``to_wide=true``.

    InputError for a name or a value that it does not take.
    """
    return KINDS[kind](**chosen_of(kind, parameters(kind), settings))


def block_of(source: str, settings: Iterable[str], *, seed: int) -> Block:
    """Return a block of a MODEL, with ``data_bits``, ``images`` and its own as settings.

    InputError for a name or a value that it does not take, or a network without such a block.
    """
    own = ("number", "rows", "columns", "slots", "lanes")
    chosen = chosen_of(Block.kind, ("data_bits", "images", *own), settings)
    images = chosen.pop("images", 1)
    check_range("", "images", images, 1, MOST_IMAGES)
    model = load_model(source)
    graph = quantise(model.network, model.calibration, data_bits=chosen.pop("data_bits", 8))
    x = input_matrices(graph, model.network, model.images(images, seed)[0])
    return Block(graph=graph, images=x, **chosen)


def chosen_of(kind: str, known: Sequence[str], settings: Iterable[str]) -> dict[str, Any]:
    """Return the values of settings by name; InputError where a name is unknown or named twice."""
    chosen: dict[str, Any] = {}
    for setting in settings:
        name, equals, text = setting.partition("=")
        if not equals or name not in known:
            raise InputError(
                f"--set of {kind} must be NAME=VALUE with a NAME of {', '.join(known)}, "
                f"not {setting!r:.60}"
            )
        if name in chosen:
            raise InputError(f"--set must name {name} once, not twice")
        chosen[name] = value_of(name, text)
    return chosen


def value_of(name: str, text: str) -> Any:
    """Return the value that a text stands for: a number, a truth value, N:M, or the text."""
    if name == "nm":
        return None if text == "dense" else NM.parse(text)
    if text in ("true", "false"):
        return text == "true"
    plain = text.removeprefix("-")
    if plain.isascii() and plain.isdecimal() and len(plain) <= LONGEST:
        return int(text)
    return text
