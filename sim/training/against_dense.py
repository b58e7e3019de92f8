"""A sparse step against the dense one of the same network, batch and machine, both predicted."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from moesaic.dataflow.cycles import Timing
from moesaic.dataflow.training.account import Share, busy_units, by_stage, shares
from moesaic.dataflow.training.cycles import predict_step
from moesaic.dataflow.training.mapper import map_step
from moesaic.models.accel import AccelSpec
from moesaic.models.training.method import Method
from moesaic.models.training.optimiser import Optimiser
from moesaic.models.training.trainee import Trainee


@dataclass(frozen=True, slots=True, kw_only=True)
class DenseStep:
    """Timing of the dense step, what its layers take, and how long its units are busy."""

    timing: Timing
    shares: list[Share]
    units: dict[str, int]

    def to_json(self, sparse: Sequence[Share]) -> dict[str, Any]:
        """Return the dense step's figures, and how much faster stages and layers of `sparse` are.

        Cycles are predicted ones, `speedup` is dense over sparse (None where sparse takes none),
        `bound` dense over executed MACs (None without MACs).
        """
        mine, other = by_stage(self.shares), by_stage(sparse)
        rows = {(share.layer, share.stage): share for share in sparse}
        layers = []
        for share in self.shares:
            row = rows.get((share.layer, share.stage))
            layers.append(
                {
                    "name": share.layer,
                    "op": share.stage,
                    "macs": share.macs,
                    "cycles_predicted": share.cycles,
                    "speedup": ratio(share.cycles, row.cycles if row else 0),
                    "bound": ratio(share.macs, row.macs if row else 0),
                }
            )
        return {
            "macs": sum(share.macs for share in self.shares),
            "cycles_predicted": self.timing.cycles,
            "bytes_read": self.timing.bytes_read,
            "bytes_written": self.timing.bytes_written,
            "units": self.units,
            "stages": {
                stage: {
                    "macs": figures["macs"],
                    "cycles_predicted": figures["cycles"],
                    "speedup": ratio(figures["cycles"], other[stage]["cycles"]),
                    "bound": ratio(figures["macs"], other[stage]["macs"]),
                }
                for stage, figures in mine.items()
            },
            "layers": layers,
        }


def predict_dense(
    model: Trainee, spec: AccelSpec, *, optimiser: Optimiser, batch: int
) -> DenseStep:
    """Map and predict the dense step; InputError where it does not fit the machine's memories."""
    step = model.step(method=Method(), optimiser=optimiser, batch=batch)
    program = map_step(step, spec)
    timing = predict_step(program)
    at = (timing.accepted, timing.done, timing.cycles)
    return DenseStep(
        timing=timing,
        shares=shares(program, model.layers, *at),
        units=busy_units(program, *at),
    )


def ratio(dense: int, sparse: int) -> float | None:
    """Return `dense` over `sparse`, None where either is nothing."""
    return dense / sparse if dense and sparse else None
