"""One run, from a model's name to its numbers. Read :func:`run` first: it is the list of stages."""

from collections.abc import Iterator
from contextlib import contextmanager

from moesaic.dataflow.cycles import predict
from moesaic.dataflow.mapper import map_graph
from moesaic.dataflow.queues import queue_lengths, routes
from moesaic.models.accel_io import load_integer_accel
from moesaic.models.errors import InputError
from moesaic.models.execute import execute
from moesaic.models.input_matrix import input_matrices
from moesaic.models.network import Floats
from moesaic.models.quantise import quantise
from moesaic.models.zoo import Labels, Model, load_model
from moesaic.sim.evaluation import evaluate
from moesaic.sim.options import Progress, RunOptions, StageClock
from moesaic.sim.run_result import RtlRun, RunResult


def _silent(_stage: str, _seconds: float | None) -> None:
    """Tell nobody."""


def run(options: RunOptions, progress: Progress = _silent) -> RunResult:
    """Quantise, map and predict a model; run it on RTL and compare, unless told not to.

    Raises InputError for what the user can mend, HangError if the RTL stands still. Differences do
    not raise: the result's `failures` says what differs.
    """
    clock = StageClock(progress=progress)
    with clock("load"):
        spec = load_integer_accel(options.accel)
        model = load_model(options.model, options.task)
        images, labels = _images(model, options)
    with clock("quantise"), _naming(options.model):
        graph = quantise(
            model.network,
            model.calibration,
            data_bits=spec.data_bits,
            gelu=spec.gelu,
            softmax_passes=options.softmax_passes,
        )
        inputs = input_matrices(graph, model.network, images)
    with clock("map"), _naming(f"{options.accel}: {model.name}"):
        program = map_graph(graph, spec, batch=options.batch, options=options.mapping)
    with clock("predict"):
        tensors = []
        if routes(program):  # cycles depend on who goes where
            tensors = [execute(graph, x, lanes=spec.lanes) for x in inputs[: options.batch]]
        timing = predict(program, queue_lengths(program, tensors))
    runs: tuple[RtlRun, ...] = ()
    if options.rtl:
        from moesaic.sim.rtl_run import run_rtl  # loads the hardware and the simulator's tools

        runs = run_rtl(program, timing, inputs, options, clock)
    with clock("evaluate"):
        evaluation = evaluate(
            graph,
            model.network,
            images,
            labels,
            metric=model.metric,
            lanes=spec.lanes,
            rtl=[x for one in runs for x in one.results],
        )
    return RunResult(
        model=model.name,
        options=options,
        images=len(images),
        program=program,
        timing=timing,
        runs=runs,
        evaluation=evaluation,
        seconds=clock.seconds,
    )


def _images(model: Model, options: RunOptions) -> tuple[Floats, Labels | None]:
    """Return the images to run, and their labels where there are any."""
    if options.input_file is None:
        with _naming("--images" if options.images else "--batch"):
            return model.images(options.images or options.batch, options.seed)
    images = model.images_from(options.input_file)
    if len(images) % options.batch:
        raise InputError(
            f"{options.input_file}: images must be a multiple of --batch = {options.batch}, "
            f"not {len(images)}"
        )
    return images, None


@contextmanager
def _naming(where: str) -> Iterator[None]:
    """Say in front of a mistake where it is."""
    try:
        yield
    except InputError as error:
        raise InputError(f"{where}: {error}") from None
