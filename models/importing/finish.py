"""Normal form and names of imported layers, so that every file format gives the same network."""

from collections import Counter
from dataclasses import replace

import numpy as np

from moesaic.models.importing.patches import IMAGE
from moesaic.models.network import (
    Add,
    Attention,
    Embed,
    Gelu,
    Image,
    Layer,
    Linear,
    MeanPool,
    Norm,
    Select,
)
from moesaic.models.network_shapes import SOURCES, sources

_KINDS = {
    Linear: "linear",
    Norm: "norm",
    Add: "add",
    Gelu: "gelu",
    Embed: "embed",
    Select: "select",
    MeanPool: "pool",
    Attention: "attn",
}


def used_layers(layers: list[Layer], result: str) -> list[Layer]:
    """Return what `result` depends on, `result` last."""
    needed, kept = {result}, []
    for layer in reversed(layers):
        if layer.name in needed:
            kept.append(layer)
            needed.update(sources(layer))
    return kept[::-1]


def renamed(layer: Layer, names: dict[str, str]) -> Layer:
    """Return `layer` with its sources renamed."""
    changes = {f: names.get(getattr(layer, f)) for f in SOURCES if hasattr(layer, f)}
    return replace(layer, **{f: name for f, name in changes.items() if name})


def with_stream(layers: list[Layer]) -> list[Layer]:
    """Make the residual stream begin with an Embed of a Linear, as positions make it do.

    Where the program has no positions, that is an empty table; where it starts with tokens, on an
    identity matrix. Residual additions then have the branch, a linear layer, as `x`.
    """
    start = _stream_start(layers)
    if start is not None:
        place = layers.index(start)
        added: list[Layer] = []
        head: Layer = start
        channels = start.weight.shape[1] if isinstance(start, Linear) else 0
        tokens = next(x.tokens for x in layers if isinstance(x, Image))
        if isinstance(start, Image):
            channels = start.width
            eye, zeros = np.eye(channels, dtype=np.float32), np.zeros(channels, dtype=np.float32)
            head = Linear(name="stream.proj", x=start.name, weight=eye, bias=zeros)
            added.append(head)
        table = np.zeros((tokens, channels), dtype=np.float32)
        added.append(Embed(name="stream.embed", x=head.name, table=table))
        names = {start.name: "stream.embed"}
        after = [renamed(layer, names) for layer in layers[place + 1 :]]
        layers = [*layers[: place + 1], *added, *after]
    linear = {layer.name for layer in layers if isinstance(layer, Linear)}
    return [_turned(x, linear) if isinstance(x, Add) else x for x in layers]


def _stream_start(layers: list[Layer]) -> Layer | None:
    """Return the Image or Linear that the stream begins with, if no Embed follows it."""
    inputs: list[Layer] = [x for x in layers if isinstance(x, Image)]
    inputs += [x for x in layers if isinstance(x, Linear) and x.x == IMAGE]
    for layer in inputs:
        readers = [x for x in layers if layer.name in sources(x)]
        plain = isinstance(layer, Image) and (layer.patch or len(readers) == 1)
        if plain and isinstance(readers[0], Linear | Embed):
            continue
        if any(isinstance(x, Norm | Add) for x in readers) or len(readers) > 1:
            return layer
    return None


def _turned(layer: Add, linear: set[str]) -> Add:
    if layer.x in linear or layer.residual not in linear:
        return layer
    return replace(layer, x=layer.residual, residual=layer.x)


def named(layers: list[Layer]) -> list[Layer]:
    """Give layers the names that DeiT's have, by what they do; the n-th attention is block n's."""
    names = _block_names({layer.name: layer for layer in layers}, layers)
    taken = Counter(names.values())
    for layer in layers:
        if layer.name not in names:
            kind = IMAGE if isinstance(layer, Image) else _KINDS[type(layer)]
            names[layer.name] = f"{kind}.{taken[kind]}" if taken[kind] else kind
            taken[kind] += 1
    return [replace(renamed(x, names), name=names[x.name]) for x in layers]


def _block_names(by_name: dict[str, Layer], layers: list[Layer]) -> dict[str, str]:
    names: dict[str, str] = {}
    taken: set[str] = set()

    def name(layer: Layer | None, wanted: str, kind: type[Layer]) -> Layer | None:
        if layer is None or not isinstance(layer, kind) or layer.name in names or wanted in taken:
            return None
        names[layer.name] = wanted
        taken.add(wanted)
        return layer

    def reader(layer: Layer | None, kind: type[Layer]) -> Layer | None:
        found = (x for x in layers if layer and isinstance(x, kind) and layer.name in sources(x))
        return next(found, None)

    def read(layer: Layer | None, field: str) -> Layer | None:
        return by_name.get(getattr(layer, field, "")) if layer else None

    embed = next((x for x in layers if isinstance(x, Embed)), None)
    name(embed, "embed", Embed)
    name(read(embed, "x"), "patch_embed.proj", Linear)
    last = next((x for x in reversed(layers) if isinstance(x, Linear)), None)
    count = -1
    stream: Layer | None = embed
    for layer in layers:
        if not isinstance(layer, Attention | Gelu):
            continue
        if isinstance(layer, Attention):
            count += 1
        block = f"blocks.{max(count, 0)}"
        if isinstance(layer, Attention):
            inside, norm = f"{block}.attn", "norm1"
            name(layer, inside, Attention)
            for letter in "qkv":
                name(read(layer, letter), f"{inside}.{letter}", Linear)
            before = read(read(layer, "q"), "x")
            proj = name(reader(layer, Linear), f"{inside}.proj", Linear)
        else:
            inside, norm = f"{block}.mlp", "norm2"
            name(layer, f"{inside}.gelu", Gelu)
            fc1 = name(read(layer, "x"), f"{inside}.fc1", Linear)
            before = read(fc1, "x")
            proj = name(reader(layer, Linear), f"{inside}.fc2", Linear)
        add = name(reader(proj, Add), f"{inside}.add", Add)
        stream = add or stream
        post_norm = add is not None and read(add, "residual") is before
        name(reader(add, Norm) if post_norm else before, f"{block}.{norm}", Norm)
    name(last if last is (layers[-1] if layers else None) else None, "head", Linear)
    final = reader(stream, Norm)
    name(final, "norm", Norm)
    return names
