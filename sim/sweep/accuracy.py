"""How good a point's results are: the integer network on labelled images, in numpy."""

from functools import lru_cache

from moesaic.models.accel import AccelSpec
from moesaic.models.accuracy import METRICS, integer_results
from moesaic.models.errors import InputError
from moesaic.models.quantise import quantise
from moesaic.models.zoo import load_model
from moesaic.sim.sweep.point import Job

SHARES = ("top1", "accuracy")  # metrics that are shares of right answers
IMAGES = 500


def check_accuracy(job: Job, images: int) -> None:
    """Raise InputError for a workload that has no such figure."""
    model = load_model(job.model, job.task)
    if model.metric not in SHARES:
        raise InputError(f"accuracy is not known of a task that is measured by {model.metric}")
    if images > model.available:
        raise InputError(f"accuracy_images must be at most {model.available}, not {images}")
    if model.images(1, 0)[1] is None:
        raise InputError("accuracy is not known: its images have no labels")


def accuracy(job: Job, spec: AccelSpec, images: int) -> float:
    """Return the share of right answers; it depends on formats and lanes alone."""
    return _accuracy(job.model, job.task, spec.data_bits, spec.gelu, spec.lanes, images)


@lru_cache(maxsize=256)
def _accuracy(name: str, task: int, data_bits: int, gelu: str, lanes: int, images: int) -> float:
    model = load_model(name, task)
    graph = quantise(model.network, model.calibration, data_bits=data_bits, gelu=gelu)
    inputs, labels = model.images(images, 0)
    assert labels is not None
    results = integer_results(graph, model.network, inputs, lanes=lanes)
    return float(METRICS[model.metric](results * graph.nodes[-1].scale, labels))
