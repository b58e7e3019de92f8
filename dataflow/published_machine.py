"""The constants of a published accelerator, read from a file that gives the source of each."""

from dataclasses import dataclass, fields
from pathlib import Path

from moesaic.models.errors import InputError
from moesaic.models.strict_yaml import read_yaml

FOLDER = Path(__file__).parents[1] / "models" / "presets_published"
BUFFERS = (
    "image",
    "stream",
    "normed",
    "queries",
    "keys",
    "hidden",
    "scores",
    "statistics",
    "weights",
)

_KINDS: dict[str, tuple[type, ...]] = {  # of fields that are no whole number
    "name": (str,),
    "buffers": (dict,),
    "ports": (dict,),
    "paper_ms": (float, int),
    "paper_attention_share": (float, int),
    "paper_linear_share": (float, int),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class PublishedMachine:
    """A network and the accelerator that was published for it.

    Sizes of the network come first; then units, in elements a cycle; then memory, in bytes a cycle
    and cycles. `buffers` says through which AXI bundle a buffer goes, `ports` where a bundle ends.
    """

    name: str
    image_channels: int
    image_height: int
    image_width: int
    patch: int
    tokens: int
    dim: int
    heads: int
    layers: int
    hidden: int
    experts: int
    expert_hidden: int
    top: int
    clock_mhz: int
    feature_bytes: int
    weight_bytes: int
    block: int
    linear_inputs: int
    linear_outputs: int
    slots: int
    embed_patches: int
    gate_interval: int
    port_bytes: int
    read_latency: int
    buffers: dict[str, str]
    ports: dict[str, str]
    paper_ms: float
    paper_attention_share: float
    paper_linear_share: float

    def __post_init__(self) -> None:
        """Raise InputError for a wrong type, a size below 1 and a buffer without a port."""
        for field in fields(self):
            value = getattr(self, field.name)
            kinds = _KINDS.get(field.name, (int,))
            if isinstance(value, bool) or not isinstance(value, kinds):
                raise InputError(
                    f"{field.name} must be of type {kinds[0].__name__}, not {value!r:.60}"
                )
            if isinstance(value, int | float) and value <= 0 and field.name != "read_latency":
                raise InputError(f"{field.name} must be more than 0, not {value}")
        if self.read_latency < 0:
            raise InputError(f"read_latency must be at least 0, not {self.read_latency}")
        for buffer in BUFFERS:
            if self.ports.get(self.buffers.get(buffer, "")) is None:
                raise InputError(f"buffers: {buffer} must go through a bundle that has a port")

    @property
    def token_bytes(self) -> int:
        """Bytes of a token's features."""
        return self.dim * self.feature_bytes

    @property
    def blocks(self) -> int:
        """Memory words of a token's features."""
        return self.dim // self.block

    @property
    def query_blocks(self) -> int:
        """Passes over all keys: `slots` queries each, and one more for the skewed start."""
        return -(-(self.tokens + self.slots - 1) // self.slots)

    @property
    def expert_layers(self) -> int:
        """Layers with experts: every second one, the first has none."""
        return self.layers // 2

    @property
    def macs(self) -> int:
        """Multiplications of one image that the network needs, embedding and gates included."""
        rows = self.tokens * self.dim
        attention = 4 * rows * self.dim + 2 * rows * self.tokens
        dense = 2 * rows * self.hidden
        routed = 2 * rows * self.expert_hidden * self.top + rows * self.experts
        pixels = self.image_channels * self.image_height * self.image_width
        return (
            self.layers * attention
            + (self.layers - self.expert_layers) * dense
            + self.expert_layers * routed
            + pixels * self.dim
        )


def published_names() -> list[str]:
    """Return the published accelerators that ship."""
    return sorted(path.stem for path in FOLDER.glob("*.yaml"))


def load_published(name: str = "edge-moe-2023") -> PublishedMachine:
    """Return a published accelerator by its name; InputError for anything else."""
    if name not in published_names():
        raise InputError(f"name must be one of {', '.join(published_names())}, not {name!r:.60}")
    data = read_yaml(FOLDER / f"{name}.yaml")
    names = [field.name for field in fields(PublishedMachine)]
    if not isinstance(data, dict) or sorted(data) != sorted(names):
        raise InputError(f"{name}: must hold {', '.join(names)}, and nothing else")
    return PublishedMachine(**data)
