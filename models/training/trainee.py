"""What `moesaic step` trains: a vision transformer, or a convolutional network."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from moesaic.models.conv_config import ConvConfig
from moesaic.models.errors import InputError
from moesaic.models.float_format import FloatFormat
from moesaic.models.network import Floats
from moesaic.models.recipes import MethodRecipe
from moesaic.models.recipes.load import load_recipe
from moesaic.models.seeded_conv import seeded_conv_weights
from moesaic.models.small_images import SIDES, load_images
from moesaic.models.training.conv_step import ConvStep, conv_state, layer_names
from moesaic.models.training.execute import Value
from moesaic.models.training.method import Method
from moesaic.models.training.optimiser import Optimiser
from moesaic.models.training.state import inputs, pixel_inputs
from moesaic.models.training.step import Step
from moesaic.models.training.vit_step import VitStep, state_of
from moesaic.models.weights_io import Weights, load_weights_of
from moesaic.models.zoo import CONVNET_FILE, CONVNETS, MASTER_FILE, WEIGHT_SEED, Model, load_model

Labels = NDArray[np.int64]


class Trainee(Protocol):
    """A network with its images."""

    @property
    def name(self) -> str:
        """Name, as asked for."""

    @property
    def layers(self) -> tuple[str, ...]:
        """Names of layers, by which operations are counted."""

    @property
    def parameters(self) -> Mapping[str, Floats]:
        """Parameters by the step's names."""

    def images(self, count: int, seed: int) -> tuple[Floats, Labels]:
        """Return images with labels."""

    def step(self, *, method: Method, optimiser: Optimiser, batch: int) -> Step:
        """Return a training step."""

    def inputs(
        self, step: Step, images: Floats, labels: Labels, fmt: FloatFormat
    ) -> dict[str, Value]:
        """Return the tensors of role INPUT."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Encoder:
    """A vision transformer of the zoo."""

    model: Model

    @property
    def name(self) -> str:
        """Name, as asked for."""
        return self.model.name

    @property
    def layers(self) -> tuple[str, ...]:
        """Names of layers, by which operations are counted."""
        return tuple(layer.name for layer in self.model.network.layers)

    @property
    def parameters(self) -> Mapping[str, Floats]:
        """Parameters by the step's names."""
        return state_of(self.model.network)

    def images(self, count: int, seed: int) -> tuple[Floats, Labels]:
        """Return images with labels."""
        images, labels = self.model.images(count, seed)
        if labels is None:
            raise InputError(f"{self.name}: training needs images with labels, it has none")
        return images, np.asarray(labels, dtype=np.int64)

    def step(self, *, method: Method, optimiser: Optimiser, batch: int) -> Step:
        """Return a training step."""
        return VitStep(self.model.network, method=method, optimiser=optimiser, batch=batch).build()

    def inputs(
        self, step: Step, images: Floats, labels: Labels, fmt: FloatFormat
    ) -> dict[str, Value]:
        """Return the tensors of role INPUT."""
        return inputs(step, self.model.network, images, labels, fmt)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class ConvNetwork:
    """A convolutional network: its sizes, its weights as the torch module has them, its images."""

    name: str
    config: ConvConfig
    weights: Weights
    dataset: str

    @property
    def layers(self) -> tuple[str, ...]:
        """Names of layers, by which operations are counted."""
        return layer_names(self.config)

    @property
    def parameters(self) -> Mapping[str, Floats]:
        """Parameters by the step's names."""
        return conv_state(self.weights)

    def images(self, count: int, seed: int) -> tuple[Floats, Labels]:
        """Return training images with labels, drawn by seed."""
        split = load_images(self.dataset, self.config.image)
        available = len(split.train_labels)
        if count > available:
            raise InputError(f"images must be in 1..{available} for {self.name}, not {count}")
        chosen = np.random.default_rng(seed).permutation(available)[:count]
        return split.train_images[chosen], split.train_labels[chosen]

    def step(self, *, method: Method, optimiser: Optimiser, batch: int) -> Step:
        """Return a training step."""
        return ConvStep(
            self.name, self.config, method=method, optimiser=optimiser, batch=batch
        ).build()

    def inputs(
        self, step: Step, images: Floats, labels: Labels, fmt: FloatFormat
    ) -> dict[str, Value]:
        """Return the tensors of role INPUT."""
        return pixel_inputs(step, images, labels, fmt)


def load_trainee(source: str | Path) -> Trainee:
    """Return a network by its name, or from a directory that `import` or `train` wrote.

    A convolutional network by name has made-up weights, those with which training begins.
    """
    name, folder = str(source), Path(source)
    if name in CONVNETS:
        recipe = load_recipe(name)
        assert isinstance(recipe, MethodRecipe)
        assert isinstance(recipe.model, ConvConfig)
        return ConvNetwork(
            name=name,
            config=recipe.model,
            weights=seeded_conv_weights(recipe.model, WEIGHT_SEED),
            dataset=recipe.dataset,
        )
    if (folder / CONVNET_FILE).is_file():
        master = folder / MASTER_FILE
        path = master if master.is_file() else folder / CONVNET_FILE
        weights, config = load_weights_of(path, ConvConfig)
        dataset = [key for key, sides in SIDES.items() if config.image in sides]
        if not dataset or config.channels != 1:
            raise InputError(f"{path}: images must be those of {SIDES}, of 1 channel")
        return ConvNetwork(name=folder.name, config=config, weights=weights, dataset=dataset[0])
    return Encoder(model=load_model(source))
