"""Training as a sweep's workload: a step of each layer of a network on a float machine.

Each layer is alone, in its fastest tiling (:mod:`moesaic.dataflow.training.layer_search`): all its
tensors come from memory and go back, update and packing of new weights included.
"""

import tempfile
from dataclasses import dataclass
from pathlib import Path

from moesaic.dataflow.account import Floor
from moesaic.dataflow.evaluate import Layer, without_collection
from moesaic.dataflow.training.account import step_floor
from moesaic.dataflow.training.layer_search import Mapped, best_mapping
from moesaic.models.accel import NM, AccelSpec
from moesaic.models.errors import InputError
from moesaic.models.float_format import FORMATS
from moesaic.models.training.layer_data import attention_data, layer_data
from moesaic.models.training.layer_shapes import LayerShape, network_layers
from moesaic.models.training.method import Method
from moesaic.sim.sweep.point import DENSE, Job


@dataclass(frozen=True, slots=True, kw_only=True)
class Trained:
    """A step of all layers; names as of :class:`moesaic.dataflow.evaluate.Evaluation`."""

    cycles: int
    macs: int
    floor: Floor
    bytes_read: int
    bytes_written: int
    layers: dict[str, Layer]


def method_of(job: Job, spec: AccelSpec) -> Method:
    """Return BDWP at the workload's ratio, or dense training."""
    if job.nm == DENSE:
        return Method()
    nm = NM.parse(job.nm)
    if nm not in spec.sparsity:
        known = ", ".join([DENSE, *map(str, spec.sparsity)])
        raise InputError(f"nm must be one of {known} on {spec.name}, not {nm}")
    return Method(name="bdwp", nm=nm)


def predict_training(job: Job, spec: AccelSpec) -> Trained:
    """Return what a step costs: each layer in its fastest tiling, times its count."""
    layers: dict[str, Layer] = {}
    compute = bandwidth = 0
    with without_collection():
        for layer in network_layers(job.model):
            mapped = _mapped(job, spec, layer)
            timing, count = mapped.timing, layer.count
            floor = step_floor(mapped.program, timing)
            compute += count * floor.compute
            bandwidth += count * floor.bandwidth
            layers[layer.name] = Layer(
                cycles=count * timing.cycles,
                macs=count * sum(note.macs for note in mapped.program.notes),
                bytes_read=count * timing.bytes_read,
                bytes_written=count * timing.bytes_written,
            )
    return Trained(
        cycles=sum(layer.cycles for layer in layers.values()),
        macs=sum(layer.macs for layer in layers.values()),
        floor=Floor(compute=compute, bandwidth=bandwidth),
        bytes_read=sum(layer.bytes_read for layer in layers.values()),
        bytes_written=sum(layer.bytes_written for layer in layers.values()),
        layers=layers,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class OnRtl:
    """All layers of a step on RTL: cycles of the step, predicted and seen, and what differs."""

    cycles_predicted: int
    cycles_rtl: int
    failures: list[str]
    seconds: float


def train_on_rtl(job: Job, spec: AccelSpec) -> OnRtl:
    """Run a step of each layer once on RTL and compare every bit and cycle."""
    from moesaic.sim.training.check import check_on_rtl

    fmt = FORMATS[spec.numbers]
    predicted, seen, seconds = 0, 0, 0.0
    failures: list[str] = []
    for layer in network_layers(job.model):
        mapped = _mapped(job, spec, layer)
        if mapped.plan is None:
            given = attention_data(mapped.program.step, fmt, seed=1)
        else:
            given = layer_data(mapped.plan, fmt, seed=1)
        with tempfile.TemporaryDirectory(prefix="moesaic-") as folder:
            _, checked = check_on_rtl(mapped.program, mapped.timing, given, Path(folder))
        failures += [f"{layer.name}: {line}" for line in checked.failures]
        predicted += layer.count * mapped.timing.cycles
        seen += layer.count * (checked.cycles or 0)
        seconds += sum(checked.seconds.values())
    return OnRtl(cycles_predicted=predicted, cycles_rtl=seen, failures=failures, seconds=seconds)


def _mapped(job: Job, spec: AccelSpec, layer: LayerShape) -> Mapped:
    return best_mapping(spec, layer, method_of(job, spec), job.batch)
