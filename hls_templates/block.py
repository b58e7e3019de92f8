"""One encoder block of an integer network: norms, products and attention, chained."""

import re
from dataclasses import dataclass
from functools import cached_property
from typing import Any, ClassVar

import numpy as np

from moesaic.hls_templates.attention import Attention
from moesaic.hls_templates.block_nodes import BlockNodes, block_nodes
from moesaic.hls_templates.layernorm import LayerNorm
from moesaic.hls_templates.literals import literal
from moesaic.hls_templates.numerics import SOFTMAX
from moesaic.hls_templates.product import ProductTile, tile_of
from moesaic.hls_templates.unit import Unit, Vectors, wide_bits
from moesaic.models.execute import execute
from moesaic.models.graph import Graph
from moesaic.models.requant import Ints

NORMS = ("norm1", "norm2")
PRODUCTS = ("q", "k", "v", "proj", "fc1", "fc2")


@dataclass(frozen=True, kw_only=True, eq=False)
class Block(Unit):
    """The block `number` of a graph, its weights as constants; a part for each of its layers.

    Parameters
    ----------
    graph : Graph
        The integer network.
    number : int
        Which of its blocks, from 0.
    images : Ints
        (images, tokens, channels) inputs of the network, whose tensors the vectors are.
    rows, columns : int
        Of the products, as of :class:`moesaic.hls_templates.product.ProductTile`.
    slots : int
        Queries that share a key.
    lanes : int
        Of norms and softmax, whose sum follows it.
    """

    kind: ClassVar[str] = "block"
    models: ClassVar[str] = "moesaic.models.execute"
    needs: ClassVar[tuple[str, ...]] = (*SOFTMAX, "gelu_table")

    graph: Graph
    images: Ints
    number: int = 0
    rows: int = 8
    columns: int = 4
    slots: int = 4
    lanes: int = 4

    def __post_init__(self) -> None:
        """Refuse a network without such a block."""
        self.check("number", 0, 4096)
        _ = self.nodes, self.tiles, self.norms, self.attention

    @property
    def name(self) -> str:
        """The C++ namespace."""
        plain = re.sub(r"\W", "_", self.graph.name)
        return self.label or f"block{self.number}_of_{plain}_int{self.graph.data_bits}"

    @cached_property
    def nodes(self) -> BlockNodes:
        """The nodes of the block."""
        return block_nodes(self.graph, self.number)

    @cached_property
    def tiles(self) -> dict[str, ProductTile]:
        """The units of its products."""
        return {
            part: tile_of(
                node := getattr(self.nodes, part),
                self.graph[node.x].channels,
                data_bits=self.graph.data_bits,
                rows=self.rows,
                columns=self.columns,
                label=f"{self.name}_{part}",
            )
            for part in PRODUCTS
        }

    @cached_property
    def norms(self) -> dict[str, LayerNorm]:
        """The units of its norms."""
        return {
            part: LayerNorm(
                label=f"{self.name}_{part}",
                data_bits=self.graph.data_bits,
                channels=getattr(self.nodes, part).channels,
                lanes=self.lanes,
            )
            for part in NORMS
        }

    @cached_property
    def attention(self) -> Attention:
        """The unit of one head."""
        return Attention(
            label=f"{self.name}_attention",
            data_bits=self.graph.data_bits,
            tokens=self.nodes.mix.tokens,
            channels=self.nodes.mix.head_channels,
            slots=self.slots,
            lanes=self.lanes,
        )

    @property
    def parts(self) -> tuple[Unit, ...]:
        """Units whose headers this one includes."""
        return (*self.norms.values(), *self.tiles.values(), self.attention)

    def constants(self) -> dict[str, Any]:
        """Return the template's variables."""
        nodes = self.nodes
        return {
            "graph": self.graph.name,
            "number": self.number,
            "lanes": self.lanes,
            "data_bits": self.graph.data_bits,
            "wide_bits": wide_bits(self.graph.data_bits),
            "tokens": nodes.mix.tokens,
            "channels": nodes.norm1.channels,
            "mixed": nodes.mix.channels,
            "hidden": nodes.fc1.channels,
            "heads": nodes.mix.heads,
            "norms": self.norms,
            "tiles": self.tiles,
            "attention": self.attention,
            "nodes": nodes,
            "compared": list(nodes.compared),
        }

    def files(self) -> dict[str, str]:
        """Return the header with the weights."""
        guard = f"{self.name}_weights_h".upper()
        lines = [f"// Weights of {self.graph.name}, block {self.number}.", f"#ifndef {guard}"]
        lines += [f"#define {guard}", '#include "requant.h"', f"namespace {self.name}_weights {{"]
        for part in NORMS:
            node = getattr(self.nodes, part)
            lines += [_array(f"{part}_gain", node.gain, "moesaic::Int<16>")]
            lines += [_array(f"{part}_offset", node.offset, "moesaic::Int<32>")]
        for part, tile in self.tiles.items():
            types = {
                "value": f"moesaic::Int<{self.graph.data_bits}>",
                "index": f"moesaic::UInt<{max(1, (tile.constants()['m'] - 1).bit_length())}>",
                "bias": "moesaic::Bias",
                "multiplier": "moesaic::Multiplier",
                "shift": "moesaic::Shift",
            }
            arrays = tile.weights(getattr(self.nodes, part))
            lines += [_array(f"{part}_{a}", arrays[a], types[a]) for a in types if a in arrays]
        return {f"{self.name}_weights.h": "\n".join([*lines, "}", "#endif", ""])}

    def vectors(self, seed: int) -> Vectors:
        """Return the block's tensors in a run of the whole network on each image."""
        del seed
        values = execute(self.graph, self.images, lanes=self.lanes)
        tensors = {name: values[node.name] for name, node in self.nodes.compared.items()}
        stream = values[self.nodes.norm1.x]
        return Vectors.of(
            {"x": np.broadcast_to(stream, tensors["proj"].shape)}, tensors | {"y": tensors["fc2"]}
        )


def _array(name: str, values: Ints, kind: str) -> str:
    sizes = "".join(f"[{size}]" for size in values.shape)
    return f"static const {kind} {name}{sizes} = {literal(values)};"
