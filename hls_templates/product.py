"""A tile of a matrix product, dense or N:M, with the epilogues of the integer network."""

from dataclasses import dataclass, replace
from typing import Any, ClassVar

import numpy as np

from moesaic.hls_templates.unit import Unit, Vectors, sample, wide_bits
from moesaic.models.accel import NM
from moesaic.models.errors import InputError
from moesaic.models.execute import execute
from moesaic.models.gelu import output_bits
from moesaic.models.graph import Constant, Graph, Input, Product
from moesaic.models.matmul import acc_bits
from moesaic.models.requant import Ints, limits, quantise_ratio
from moesaic.models.sparse import compress, prune

EPILOGUES = ("narrow", "wide", "gelu", "add")
CASES = 24


@dataclass(frozen=True, kw_only=True)
class ProductTile(Unit):
    """A Product node of `tokens` rows: sums of products, bias, requantisation, epilogue.

    Parameters
    ----------
    data_bits : int
        8 or 16.
    tokens, inputs, outputs : int
        Rows, length of the contraction, columns.
    rows, columns : int
        Operands that come at once, whole groups where weights are N:M; outputs that take them.
    nm : NM or None
        N:M of the weights, whose indices are those of :mod:`moesaic.models.sparse`; None is dense.
    epilogue : str
        ``narrow``, ``wide``, ``gelu`` or ``add``, as of :class:`moesaic.models.graph.Product`.
    """

    kind: ClassVar[str] = "product"
    models: ClassVar[str] = "moesaic.models.execute, .sparse"
    needs: ClassVar[tuple[str, ...]] = ("integers", "streams", "requant", "gelu_table")

    data_bits: int = 8
    tokens: int = 3
    inputs: int = 32
    outputs: int = 8
    rows: int = 8
    columns: int = 4
    nm: NM | None = None
    epilogue: str = "narrow"

    def __post_init__(self) -> None:
        """Refuse parameters out of range."""
        self.check_choice("data_bits", (8, 16))
        self.check("tokens", 1, 4096)
        self.check("inputs", 1, 4096)
        self.check("outputs", 1, 4096)
        self.check("rows", 1, 256)
        self.check("columns", 1, 256)
        self.check_choice("epilogue", EPILOGUES)
        if not isinstance(self.nm, NM | None):
            raise InputError(f"nm must be N:M or dense, not {self.nm!r:.60}")
        if self.nm is not None and self.rows % self.nm.m:
            raise InputError(f"rows must be whole groups of {self.nm}, not {self.rows}")

    @property
    def kept(self) -> int:
        """Weights of an output that are kept, filled up to whole beats."""
        beats = -(-self.inputs // self.rows)
        return beats * self.rows if self.nm is None else beats * self.rows // self.nm.expansion

    def constants(self) -> dict[str, Any]:
        """Return the template's variables."""
        wide = wide_bits(self.data_bits)
        return super().constants() | {
            "wide_bits": wide,
            "out_bits": self.data_bits if self.epilogue in ("narrow", "gelu") else wide,
            "acc_bits": acc_bits(self.data_bits),
            "kept": self.kept,
            "n": 1 if self.nm is None else self.nm.n,
            "m": 1 if self.nm is None else self.nm.m,
            "gelu_bits": output_bits(wide),
        }

    def weights(self, node: Product) -> dict[str, Ints]:
        """Return the arrays that the C++ takes, by name: each as its header declares it."""
        values, indices = node.weight, np.zeros((0, self.outputs), dtype=np.int64)
        if self.nm is not None:
            values, indices = compress(node.weight, self.nm)
        missing = ((0, self.kept - len(values)), (0, 0))
        arrays = {"value": np.pad(values, missing)}
        if self.nm is not None:
            arrays["index"] = np.pad(indices, missing)
        arrays |= {"bias": node.bias, "multiplier": node.multiplier, "shift": node.shift}
        if self.epilogue == "gelu":
            arrays["post"] = np.array([node.post_multiplier, node.post_shift])
        return arrays

    def vectors(self, seed: int) -> Vectors:
        """Return products of random and of largest operands, with weights of each case."""
        rng = np.random.default_rng(seed)
        inputs: list[dict[str, Ints]] = []
        outputs: list[Ints] = []
        for case in range(CASES):
            x, residual, node = self._case(rng, extreme=case < 3)
            graph = _graph(node, residual, self)
            y = execute(graph, x, lanes=1)["y"]
            more = {"residual": residual} if self.epilogue == "add" else {}
            inputs.append({"x": x} | self.weights(node) | more)
            outputs.append(y)
        joined = {name: np.array([case[name] for case in inputs]) for name in inputs[0]}
        return Vectors.of(joined, {"y": np.array(outputs)})

    def _case(self, rng: np.random.Generator, *, extreme: bool) -> tuple[Ints, Ints, Product]:
        bits = self.data_bits
        shape = (self.inputs, self.outputs)
        weight = sample(rng, bits, shape)
        x = sample(rng, bits, (self.tokens, self.inputs))
        if extreme:
            low, high = limits(bits)
            weight = np.where(rng.random(shape) < 0.5, low, high) if rng.random() < 0.5 else weight
            x = np.where(rng.random(x.shape) < 0.9, low, high)
        if self.nm is not None:
            weight = np.where(prune(weight, self.nm), weight, 0)
        bias = sample(rng, 20 if bits == 8 else 34, (self.outputs,))
        wide = self.epilogue != "narrow"
        size = np.abs(x @ weight + bias).max() + 1.0
        top = limits(wide_bits(bits) if wide else bits)[1] * 2.0 ** rng.uniform(-3, 1.5)
        pairs = [
            quantise_ratio(top / size * 2.0 ** rng.uniform(-2, 0)) for _ in range(self.outputs)
        ]
        multiplier, shift = np.array(pairs).T
        post = quantise_ratio(limits(bits)[1] / limits(output_bits(wide_bits(bits)))[1] * 2)
        residual = sample(rng, wide_bits(bits), (self.tokens, self.outputs))
        return (
            x,
            residual,
            Product(
                name="y",
                tokens=self.tokens,
                channels=self.outputs,
                scale=1.0,
                x="x",
                weight=weight,
                bias=bias,
                multiplier=multiplier,
                shift=shift,
                nm=self.nm,
                epilogue=self.epilogue,
                residual="residual" if self.epilogue == "add" else None,
                post_multiplier=post[0],
                post_shift=post[1],
            ),
        )


def _graph(node: Product, residual: Ints, tile: ProductTile) -> Graph:
    size: dict[str, Any] = {"tokens": tile.tokens, "scale": 1.0}
    x = Input(name="x", channels=tile.inputs, **size)
    stream = Constant(name="residual", channels=tile.outputs, value=residual, **size)
    return Graph(name="tile", data_bits=tile.data_bits, nodes=(x, stream, node))


def tile_of(
    node: Product, inputs: int, *, data_bits: int, rows: int, columns: int, label: str
) -> ProductTile:
    """Return the unit of a Product node; `rows` is rounded up to whole groups."""
    tile = ProductTile(
        label=label,
        data_bits=data_bits,
        tokens=node.tokens,
        inputs=inputs,
        outputs=node.channels,
        rows=rows,
        columns=columns,
        epilogue=node.epilogue,
    )
    if node.nm is None:
        return tile
    return replace(tile, nm=node.nm, rows=-(-rows // node.nm.m) * node.nm.m)
