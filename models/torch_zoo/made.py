"""What training by a recipe makes."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from moesaic.models.network import Floats, Network
from moesaic.models.weights_io import Config, Weights

Show = Callable[[int, int, str], None]
"""Called after each epoch with its number, their count and a text."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Made:
    """A trained network.

    `network` is that of task 0 where there are several, and None for convolutional networks, which
    the encoder's graph cannot hold; `weights` are all, to be kept as `weights_file`; `text` states
    the result on the test images, `training` everything. `master` holds the dense weights of a
    sparse method; `calibration` images where the network's dataset is none of the zoo's.
    """

    network: Network | None
    weights: Weights
    config: Config
    weights_file: str
    text: str
    training: dict[str, Any]
    master: Weights | None = None
    calibration: Floats | None = None
