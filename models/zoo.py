"""The models that every command takes: those that ship, and directories of `import` or `train`."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from moesaic.models.accel import NM
from moesaic.models.canvases import CANVAS_CLASSES, TEST, TRAIN, make_canvases
from moesaic.models.data import MEAN, STD, load_mnist
from moesaic.models.errors import InputError
from moesaic.models.image_file import read_images
from moesaic.models.input_matrix import check_images, image_layer
from moesaic.models.made_up_images import made_up_images
from moesaic.models.moe_config import SEEDED_MOE_PRESETS, MoeVitConfig
from moesaic.models.network import Floats, Network
from moesaic.models.network_io import JSON_FILE, load_network
from moesaic.models.seeded_moe import seeded_moe_weights
from moesaic.models.seeded_weights import seeded_weights
from moesaic.models.vit_config import VIT_PRESETS
from moesaic.models.weights_io import Weights, load_weights, load_weights_of
from moesaic.models.zoo_moe import check_task, moe_network
from moesaic.models.zoo_vit import vit_network

MODELS = {
    "vit-mnist": "4 blocks of 64 channels, 50 tokens; trained on MNIST, dense",
    "vit-mnist-2of4": "the same, 2 of 4 weights in the blocks' linear layers",
    "vit-mnist-2of8": "the same, 2 of 8 weights in the blocks' linear layers",
    "moevit-mnist": "4 blocks of 64 channels, 64 tokens, 8 experts, 2 tasks; trained on canvases",
    "densevit-canvas": "the same without experts, for comparison",
    "deit-tiny": "12 blocks of 192 channels, 197 tokens; made-up weights and images",
    "deit-small": "12 blocks of 384 channels, 197 tokens; made-up weights and images",
    "m3vit-tiny": "12 blocks of 192 channels, 129 tokens, 16 experts, 2 tasks; made-up as above",
    "m3vit-small": "12 blocks of 384 channels, 129 tokens, 16 experts, 2 tasks; made-up as above",
}
CANVAS_MODELS = ("moevit-mnist", "densevit-canvas")
CALIBRATION_FILE = "calibration.npy"
TASKS_FILE = "tasks.npz"  # in a directory of `train`: all tasks' weights
VIT_FILE, CONVNET_FILE = "vit.npz", "convnet.npz"  # the same, of one task
MASTER_FILE = "master.npz"  # and the dense weights that a sparse method trains
MNIST, CANVAS, MADE_UP, CALIBRATION = "mnist", "canvas", "made-up", "calibration"
WEIGHT_SEED, CALIBRATION_SEED = 0, 1 << 31  # no seed of a user's
CALIBRATION_IMAGES = 4
CALIBRATION_CANVASES, TEST_CANVASES = 100, 2000
CANVAS_METRICS = ("accuracy", "rmse")  # by task
MADE_UP_LIMIT = 64
IMAGENET = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))

Labels = NDArray[np.int64] | Floats


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Model:
    """A float network with what it is calibrated and run on.

    `dataset` says which images a run takes: ``mnist`` and ``canvas`` (test images with labels),
    ``made-up`` (by seed) or ``calibration`` (those of the import). `pixels` holds mean and
    deviation of each channel, by which bytes are normalised; None where nobody said. The network is
    that of `task`, of `tasks`; `metric` is the one of :data:`moesaic.models.accuracy.METRICS` that
    says how good results are.
    """

    name: str
    network: Network
    calibration: Floats
    dataset: str
    pixels: tuple[tuple[float, ...], tuple[float, ...]] | None = None
    task: int = 0
    tasks: int = 1
    metric: str = "top1"

    @property
    def available(self) -> int:
        """Images that `images` can give."""
        if self.dataset == MNIST:
            return len(load_mnist().test_images)
        if self.dataset == CANVAS:
            return TEST_CANVASES
        return MADE_UP_LIMIT if self.dataset == MADE_UP else len(self.calibration)

    def images(self, count: int, seed: int) -> tuple[Floats, Labels | None]:
        """Return the first `count` images, and their labels where there are any."""
        if not 1 <= count <= self.available:
            raise InputError(f"images must be in 1..{self.available} for {self.name}, not {count}")
        if self.dataset == MNIST:
            split = load_mnist()
            return split.test_images[:count], split.test_labels[:count]
        if self.dataset == CANVAS:
            canvases = make_canvases(image_layer(self.network), TEST, count)
            return canvases.images, canvases.labels(self.task)
        if self.dataset == MADE_UP:
            return made_up_images(image_layer(self.network), count, seed), None
        return self.calibration[:count], None

    def images_from(self, path: str | Path) -> Floats:
        """Return the images of a .npy file.

        (images, channels, height, width), without channels where there is but one, or (images,
        tokens, channels) as the network takes them; floats as they are, bytes normalised.
        """
        images = read_images(path)
        layer = image_layer(self.network)
        if layer.patch and layer.channels == 1 and images.ndim == 3:
            images = images[:, None]
        try:
            if images.dtype == np.uint8:
                images = self._normalised(images)
            return check_images(self.network, images)
        except InputError as error:
            raise InputError(f"{path}: {error}") from None

    def _normalised(self, images: NDArray[np.uint8]) -> Floats:
        if self.pixels is None:
            raise InputError(
                f"images must be float for {self.name}, whose scale of pixels is unknown, not uint8"
            )
        check_images(self.network, images)
        mean, deviation = (np.array(x, np.float32).reshape(-1, 1, 1) for x in self.pixels)
        unit = images.astype(np.float32) / np.float32(255)
        return np.asarray((unit - mean) / deviation, dtype=np.float32)


def load_model(source: str | Path, task: int = 0) -> Model:
    """Return a model by its name, or from a directory that `import` or `train` wrote.

    A model of several tasks is that of `task`; InputError for a task that it does not have.
    """
    name = str(source)
    if name in MODELS:
        if name in SEEDED_MOE_PRESETS:
            return _m3vit(name, task)
        if name in CANVAS_MODELS:
            return _on_canvases(name, *load_weights_of(name, MoeVitConfig), task)
        check_task(task, 1)
        return _deit(name) if name.startswith("deit") else _mnist(name)
    if (Path(name) / JSON_FILE).is_file():
        return _from_directory(Path(name), task)
    if (Path(name) / CONVNET_FILE).is_file():
        raise InputError(f"{name}: must be an encoder to be run, not a convolutional network")
    raise InputError(
        f"MODEL must be one of {', '.join(MODELS)} or a directory with {JSON_FILE}, "
        f"not {name!r:.200}"
    )


def default_calibration(network: Network) -> Floats:
    """Return the made-up images that a network is calibrated on where there are no others."""
    return made_up_images(image_layer(network), CALIBRATION_IMAGES, CALIBRATION_SEED)


def _mnist(name: str) -> Model:
    weights, config = load_weights(name)
    _, _, pattern = name.partition("mnist-")
    nm = NM.parse(pattern.replace("of", ":")) if pattern else None
    return _on_mnist(vit_network(name, weights, heads=config.heads, nm=nm))


def _on_mnist(network: Network) -> Model:
    return Model(
        name=network.name,
        network=network,
        calibration=load_mnist().calibration_images,
        dataset=MNIST,
        pixels=((MEAN,), (STD,)),
    )


def _deit(name: str) -> Model:
    config = VIT_PRESETS[name]
    network = vit_network(name, seeded_weights(config, WEIGHT_SEED), heads=config.heads)
    return Model(
        name=name,
        network=network,
        calibration=default_calibration(network),
        dataset=MADE_UP,
        pixels=IMAGENET,
    )


def _m3vit(name: str, task: int) -> Model:
    config = SEEDED_MOE_PRESETS[name]
    check_task(task, config.tasks)
    network = moe_network(name, seeded_moe_weights(config, WEIGHT_SEED), config, task)
    return Model(
        name=name,
        network=network,
        calibration=default_calibration(network),
        dataset=MADE_UP,
        pixels=IMAGENET,
        task=task,
        tasks=config.tasks,
    )


def _on_canvases(name: str, weights: Weights, config: MoeVitConfig, task: int) -> Model:
    if config.outputs != (CANVAS_CLASSES, 1):
        raise InputError(f"outputs must be ({CANVAS_CLASSES}, 1), not {config.outputs}")
    network = moe_network(name, weights, config, task)
    return Model(
        name=name,
        network=network,
        calibration=make_canvases(image_layer(network), TRAIN, CALIBRATION_CANVASES).images,
        dataset=CANVAS,
        pixels=((MEAN,) * config.channels, (STD,) * config.channels),
        task=task,
        tasks=config.tasks,
        metric=CANVAS_METRICS[task],
    )


def _from_directory(folder: Path, task: int) -> Model:
    network = load_network(folder)
    if network.labels.get("dataset") == CANVAS:
        path = folder / TASKS_FILE
        weights, config = load_weights_of(path, MoeVitConfig)
        check_task(task, config.tasks)
        try:
            return _on_canvases(network.name, weights, config, task)
        except InputError as error:
            raise InputError(f"{path}: {error}") from None
    check_task(task, 1)
    if network.labels.get("dataset") == MNIST:
        try:
            check_images(network, load_mnist().calibration_images)
        except InputError as error:
            raise InputError(f"{folder / JSON_FILE}: dataset {MNIST!r}: {error}") from None
        return _on_mnist(network)
    path = folder / CALIBRATION_FILE
    calibration: NDArray[Any] = read_images(path)
    try:
        images = check_images(network, calibration)
    except InputError as error:
        raise InputError(f"{path}: {error}") from None
    return Model(name=network.name, network=network, calibration=images, dataset=CALIBRATION)
