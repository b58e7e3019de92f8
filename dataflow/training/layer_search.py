"""How a layer alone goes through a machine best: all tilings that fit, the exact cycles of each."""

from collections.abc import Iterator
from dataclasses import dataclass

from moesaic.dataflow.cycles import Timing
from moesaic.dataflow.training.cycles import predict_step
from moesaic.dataflow.training.mapper import TrainProgram, map_step
from moesaic.dataflow.training.places import ceil_div
from moesaic.models.accel import NM, AccelSpec
from moesaic.models.errors import InputError
from moesaic.models.training.layer_shapes import LayerShape
from moesaic.models.training.layer_step import LayerStep, Tiling, attention_step
from moesaic.models.training.matrix import fitting
from moesaic.models.training.method import Method
from moesaic.models.training.optimiser import Optimiser

ROWS = (256, 512, 1024, 2048, 4096)
BLOCKS = (128, 256, 512)
SHARE = 2  # of a memory is taken by what is at work, the rest is for what comes next


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Mapped:
    """A layer with the plan that takes the fewest cycles (None for an attention)."""

    layer: LayerShape
    plan: LayerStep | None
    program: TrainProgram
    timing: Timing


def tilings(
    spec: AccelSpec, layer: LayerShape, method: Method, batch: int, rows: tuple[int, ...] = ROWS
) -> Iterator[Tiling]:
    """Yield tilings whose weights and gradients take at most half of their memories."""
    convolution = layer.kernel > 1 and not layer.first
    taps = layer.kernel**2 if convolution else 1
    inputs = layer.inputs if convolution else layer.channels
    chosen = method if layer.sparse else Method()

    def words(outputs: int, channels: int, wanted: NM | None) -> int:
        along = ceil_div(channels, spec.operands_per_word(fitting(wanted, channels)))
        return taps * ceil_div(outputs, spec.columns) * spec.columns * along

    room = spec.weight_lines // SHARE
    for most in rows:
        if most > rows[0] and most >= 2 * batch * layer.rows:
            return
        for block in sorted({min(size, max(layer.outputs, inputs)) for size in BLOCKS}):
            outputs, channels = min(block, layer.outputs), min(block, inputs)
            out_blocks, in_blocks = ceil_div(layer.outputs, outputs), ceil_div(inputs, channels)
            there = words(outputs, inputs, chosen.forward)
            back = out_blocks * words(channels, outputs, chosen.backward)
            floats = outputs * ceil_div(inputs, spec.lanes)
            if max(there, back) > spec.weight_lines or floats > spec.float_words // SHARE:
                continue
            for keep in (True, False):
                yield Tiling(
                    rows=most,
                    outputs=outputs,
                    inputs=channels,
                    forward=min(out_blocks, max(1, room // there)),
                    backward=min(in_blocks, max(1, room // back)),
                    update=min(taps * out_blocks, max(1, spec.float_words // SHARE // floats)),
                    keep=keep,
                )


def best_mapping(
    spec: AccelSpec,
    layer: LayerShape,
    method: Method,
    batch: int,
    optimiser: Optimiser | None = None,
) -> Mapped:
    """Return a layer's fastest mapping; InputError if the machine is too small for all."""
    optimiser = optimiser or Optimiser()
    if layer.heads:
        return _mapped(spec, layer, None, method, batch, optimiser)
    found: Mapped | None = None
    refused: InputError | None = None
    for tiling in tilings(spec, layer, method, batch):
        try:
            tried = _mapped(spec, layer, tiling, method, batch, optimiser)
        except InputError as error:
            refused = error
            continue
        if found is None or tried.timing.cycles < found.timing.cycles:
            found = tried
    if found is None:
        raise refused or InputError(f"weight_lines must be larger for {layer.name}")
    return found


def _mapped(
    spec: AccelSpec,
    layer: LayerShape,
    tiling: Tiling | None,
    method: Method,
    batch: int,
    optimiser: Optimiser,
) -> Mapped:
    if tiling is None:
        plan, step = None, attention_step(layer, optimiser=optimiser, batch=batch)
    else:
        plan = LayerStep(layer, method=method, optimiser=optimiser, batch=batch, tiling=tiling)
        step = plan.build()
    program = map_step(step, spec, spill=False)
    return Mapped(layer=layer, plan=plan, program=program, timing=predict_step(program))
