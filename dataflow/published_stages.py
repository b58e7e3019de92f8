"""The stages of a published accelerator, and how many cycles each takes, from its constants alone.

Rules, each from the released source of Edge-MoE (github.com/sharc-lab/Edge-MoE, arXiv 2305.18691):

* Inside a stage, readers, arithmetic and writers are a dataflow region: the slowest one counts.
  A port moves `port_bytes` a cycle in each direction.
* Stages follow one another. In attention and dense perceptrons a load of weights and the product
  that uses it stand alone between two branches, so nothing overlaps them: their cycles add up.
* Among experts no branch comes between: the product of one buffer and the load of the other have
  neither data nor port in common, and the longer one counts.
* Each call that reads memory waits `read_latency` once, a norm once for each token.

Left out, because neither paper nor source says it: depths of the pipelines, waits for the response
to a write, and what a port of the processing system delivers below its peak.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from fractions import Fraction

from moesaic.dataflow.published_machine import PublishedMachine

ATTENTION, LINEAR, REST = "Q x K and M' x V", "linears, perceptrons, experts", "rest"
GROUPS = (ATTENTION, LINEAR, REST)


@dataclass(frozen=True, slots=True, kw_only=True)
class Assumptions:
    """What may be asked "what if"; the defaults are what the source says.

    `port_share` is the part of a port's peak that is delivered.
    """

    expert_loads_overlap: bool = True
    other_loads_overlap: bool = False
    keys_on_chip: bool = False
    port_share: Fraction = Fraction(1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Stage:
    """One step: its arithmetic alone, bytes by AXI bundle, and the cycles it takes.

    `layer` is -1 in front of the first. `bound` is what takes the cycles: ``compute``, or a bundle.
    """

    layer: int
    name: str
    group: str
    compute: int
    reads: Mapping[str, int]
    writes: Mapping[str, int]
    cycles: int
    bound: str


@dataclass(slots=True, kw_only=True)
class StageBuilder:
    """Stages so far; a method appends one. Sizes are in tokens, elements and bytes."""

    machine: PublishedMachine
    assumed: Assumptions
    layer: int = -1
    stages: list[Stage] = field(default_factory=list)

    def beats(self, size: int) -> int:
        """Return the cycles of a port for `size` bytes."""
        return -(-size // (self.machine.port_bytes * self.assumed.port_share))

    def bundles(self, sizes: Mapping[str, int]) -> dict[str, int]:
        """Return bytes by bundle from bytes by buffer."""
        out: dict[str, int] = {}
        for buffer, size in sizes.items():
            bundle = self.machine.buffers[buffer]
            out[bundle] = out.get(bundle, 0) + size
        return out

    def append(
        self,
        name: str,
        group: str,
        compute: int,
        *,
        reads: Mapping[str, int],
        writes: Mapping[str, int],
        latency: int = 0,
        cycles: int | None = None,
    ) -> None:
        """Append a stage of which the slowest part counts, or one of `cycles`."""
        read, written = self.bundles(reads), self.bundles(writes)
        times = {"compute": compute}
        for sizes in (read, written):
            for bundle, size in sizes.items():
                times[bundle] = max(times.get(bundle, 0), self.beats(size))
        bound = max(times, key=lambda key: times[key])
        self.stages.append(
            Stage(
                layer=self.layer,
                name=name,
                group=group,
                compute=compute,
                reads=read,
                writes=written,
                cycles=latency + times[bound] if cycles is None else cycles,
                bound=bound,
            )
        )

    def embed(self) -> None:
        """Patch embedding: rows of patches, each multiplied while the one before is written."""
        m = self.machine
        across, down = m.image_width // m.patch, m.image_height // m.patch
        row = m.image_channels * m.patch * (across // m.embed_patches) * m.blocks
        written = across * m.token_bytes
        image = m.image_channels * m.image_height * m.image_width
        read = self.beats(image // down)
        self.append(
            "patch embedding",
            REST,
            down * row,
            reads={"image": image, "weights": m.tokens * m.token_bytes},
            writes={"stream": m.tokens * m.token_bytes},
            cycles=m.read_latency
            + down * max(row, read, self.beats(written))
            # the last row of patches and the class token leave when all sums are there
            + self.beats(written)
            + self.beats(m.token_bytes),
        )

    def load_norms(self) -> None:
        """Gains and offsets of a layer's two norms: four loops one after another."""
        m = self.machine
        self.append(
            "load norms",
            REST,
            4 * m.blocks,
            reads={"weights": 4 * m.dim * m.weight_bytes},
            writes={},
            latency=4 * m.read_latency,
        )

    def norm(self, name: str) -> None:
        """One pass for mean and mean square, one for the output, which overlaps the next token."""
        m = self.machine
        one = max(m.blocks, self.beats(m.token_bytes))
        self.append(
            name,
            REST,
            m.tokens * m.blocks,
            reads={"stream": m.tokens * m.token_bytes},
            writes={"normed": m.tokens * m.token_bytes},
            cycles=m.tokens * (m.read_latency + one) + one,
        )

    def add(self) -> None:
        """Residual addition: the stream is read and written."""
        m = self.machine
        size = m.tokens * m.token_bytes
        self.append(
            "add",
            REST,
            m.tokens * m.blocks,
            reads={"stream": size, "keys": size},
            writes={"stream": size},
            latency=m.read_latency,
        )

    def load_cycles(self, inputs: int, outputs: int) -> int:
        """Return the cycles of a load of weights, then of biases, by themselves."""
        m = self.machine
        return (
            2 * m.read_latency
            + self.beats(inputs * outputs * m.weight_bytes)
            + self.beats(outputs * m.weight_bytes)
        )

    def load(self, name: str, inputs: int, outputs: int) -> None:
        """Load the weights and biases of a product."""
        cycles = self.load_cycles(inputs, outputs)
        if self.assumed.other_loads_overlap:
            cycles = max(0, cycles - self.stages[-1].cycles)
        weight_bytes = (inputs + 1) * outputs * self.machine.weight_bytes
        self.append(
            f"load {name}", LINEAR, 0, reads={"weights": weight_bytes}, writes={}, cycles=cycles
        )

    def product_cycles(self, tokens: int, inputs: int, outputs: int) -> int:
        """Return the cycles of the linear unit alone."""
        m = self.machine
        return tokens * -(-inputs // m.linear_inputs) * -(-outputs // m.linear_outputs)

    def product(self, name: str, source: str, target: str, inputs: int, outputs: int) -> None:
        """Load, then multiply all tokens."""
        m = self.machine
        self.load(name, inputs, outputs)
        self.append(
            name,
            LINEAR,
            self.product_cycles(m.tokens, inputs, outputs),
            reads={source: m.tokens * inputs * m.feature_bytes},
            writes={target: m.tokens * outputs * m.feature_bytes},
            latency=m.read_latency,
        )

    def streamed(self, name: str, reads: Mapping[str, int], writes: Mapping[str, int]) -> None:
        """Q x K or M' x V: all keys, or values, once for each block of queries."""
        m = self.machine
        passes = 1 if self.assumed.keys_on_chip else m.query_blocks
        streamed = "keys" if "queries" in reads else "queries"
        self.append(
            name,
            ATTENTION,
            m.query_blocks * m.tokens * m.blocks,
            reads={**reads, streamed: passes * m.tokens * m.token_bytes},
            writes=writes,
            latency=m.read_latency,
        )

    def attention(self) -> None:
        """Norm, attention and residual addition."""
        m = self.machine
        features = m.tokens * m.token_bytes
        lanes = 1 << (m.heads - 1).bit_length()  # heads, padded to a power of two
        scores = m.query_blocks * m.tokens * m.slots * lanes * m.feature_bytes
        statistics = m.tokens * 2 * lanes * m.feature_bytes
        self.load_norms()
        self.norm("norm 1")
        self.product("Q", "normed", "queries", m.dim, m.dim)
        self.product("K", "normed", "keys", m.dim, m.dim)
        self.streamed("Q x K", {"queries": features}, {"scores": scores, "statistics": statistics})
        self.product("V", "normed", "queries", m.dim, m.dim)
        self.streamed("M' x V", {"scores": scores, "statistics": statistics}, {"normed": features})
        self.product("projection", "normed", "keys", m.dim, m.dim)
        self.add()
        self.norm("norm 2")

    def perceptron(self) -> None:
        """Dense perceptron."""
        m = self.machine
        self.product("FC1", "normed", "hidden", m.dim, m.hidden)
        self.product("FC2", "hidden", "keys", m.hidden, m.dim)

    def gate(self) -> None:
        """Gate: logits, softmax and choice of a token after another; its output is zeroed beside.

        The cycles of a token are those of the three loops in a row.
        """
        m = self.machine
        weights = m.experts * m.dim * m.weight_bytes
        self.append(
            "load gate",
            REST,
            m.experts * m.blocks,
            reads={"weights": weights},
            writes={},
            latency=m.read_latency,
        )
        features = m.tokens * m.token_bytes
        self.append(
            "gate",
            REST,
            m.tokens * (m.blocks + m.gate_interval * m.experts + m.experts),
            reads={"normed": features},
            writes={"keys": features},
            latency=m.read_latency,
        )

    def mixture(self, queues: Sequence[int]) -> None:
        """Experts with tokens, in order: each product beside the load of the weights after it."""
        m = self.machine
        steps: list[tuple[str, int, int, int, str, str]] = []
        for expert, tokens in enumerate(queues):
            if tokens:
                name = f"expert {expert}"
                steps.append((f"{name} FC1", tokens, m.dim, m.expert_hidden, "normed", "hidden"))
                steps.append((f"{name} FC2", tokens, m.expert_hidden, m.dim, "hidden", "keys"))
        self.load(steps[0][0], m.dim, m.expert_hidden)
        for place, (name, tokens, inputs, outputs, source, target) in enumerate(steps):
            compute = self.product_cycles(tokens, inputs, outputs)
            reads = {source: tokens * inputs * m.feature_bytes}
            written = tokens * outputs * m.feature_bytes
            if target == "keys":  # weighed, and added to what is there
                reads[target] = written
            busy = max(compute, *(self.beats(size) for size in (*reads.values(), written)))
            load = 0
            if place + 1 < len(steps):
                _, _, next_inputs, next_outputs, _, _ = steps[place + 1]
                reads["weights"] = (next_inputs + 1) * next_outputs * m.weight_bytes
                load = self.load_cycles(next_inputs, next_outputs)
            parts = (m.read_latency + busy, load)
            self.append(
                name,
                LINEAR,
                compute,
                reads=reads,
                writes={target: written},
                cycles=max(parts) if self.assumed.expert_loads_overlap else sum(parts),
            )
