"""Published accelerators as references in the plots of a sweep, each with its source.

The figures are those of `docs/comparison.md`, which says more of each.
"""

from dataclasses import dataclass

from moesaic.reports.sweep_read import Sweep

MEASURED = "measured on a board by its authors"
QUOTED = "measured on a board by its authors, as a later paper quotes it"


@dataclass(frozen=True, slots=True, kw_only=True)
class Peer:
    """A published design: one image's latency, images per second, resources of the whole design.

    `images_are` says where images per second come from.
    """

    name: str
    network: str
    board: str
    bits: str
    latency: float
    throughput: float | None = None
    images_are: str = "one after another, derived from the latency"
    dsp: int | None = None
    lut: int | None = None
    mark: str
    source: str

    @property
    def figures(self) -> dict[str, float]:
        """What a plot may show, by the names of a sweep's figures."""
        found = {
            "latency": self.latency,
            "throughput": self.throughput,
            "dsp": self.dsp,
            "lut": self.lut,
        }
        return {name: value for name, value in found.items() if value is not None}


PEERS = (
    Peer(
        name="Edge-MoE 2023",
        network="m3vit-tiny",
        board="ZCU102",
        bits="16/32",
        latency=34.64e-3,
        throughput=1 / 34.64e-3,
        mark=QUOTED,
        source="Sarkar et al., ICCAD 2023, arXiv 2305.18691; latency by arXiv 2502.05602, table II",
    ),
    Peer(
        name="UbiMoE 2025",
        network="m3vit-tiny",
        board="ZCU102",
        bits="16/32",
        latency=25.76e-3,
        throughput=1 / 25.76e-3,
        dsp=1850,
        lut=123_400,
        mark=f"{MEASURED}; that it ran 129 tokens is assumed",
        source="Dong et al., arXiv 2502.05602, table II",
    ),
    Peer(
        name="CoQMoE 2025",
        network="m3vit-tiny",
        board="ZCU102",
        bits="8/8, attention map 4",
        latency=6.47e-3,
        throughput=1 / 6.47e-3,
        dsp=1754,
        lut=156_100,
        mark=f"{MEASURED}; that it ran 129 tokens is assumed",
        source="Dong et al., arXiv 2506.08496, table 3",
    ),
    Peer(
        name="HG-PIPE 2024",
        network="deit-tiny",
        board="VCK190",
        bits="3/3",
        latency=1.94e-3,
        throughput=7118,
        images_are="measured, images behind each other in a pipeline",
        dsp=312,
        lut=669_000,
        mark=f"{MEASURED}; a larger device, another number format",
        source="Guo et al., arXiv 2407.17879",
    ),
)


def peers_of(sweep: Sweep) -> list[Peer]:
    """Return the peers that ran the sweep's network: none where it has several networks."""
    models = sweep.parameters.get("model") or [job.model for job in sweep.space.workloads]
    return [peer for peer in PEERS if set(models) == {peer.network}]


def comparable(sweep: Sweep) -> list[str]:
    """Return the figures that mean the same for a peer and for the sweep.

    Images per second do. Latency does where a point runs one image. Resources do where the sweep
    counts those of a whole design, not of parts.
    """
    jobs = sweep.space.workloads
    batches = sweep.parameters.get("batch") or [job.batch for job in jobs]
    one = len(jobs) == 1 and set(batches) == {1}
    return ["throughput", *(["latency"] if one else []), *sweep.whole_design]
