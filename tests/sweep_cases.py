"""A small model, small spaces, and sweeps of them for tests."""

import io
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from moesaic.models.network_io import save_network
from moesaic.models.sample_networks import sample_images, sample_network
from moesaic.models.zoo import CALIBRATION_FILE

SMALL: dict[str, Any] = {
    "base": "tiny",
    "workloads": [{"model": "small"}],
    "parameters": {
        "rows": [8, 16],
        "lanes": {"from": 4, "to": 16, "step": "double"},
        "bus_bytes": [4, 8],
        "mapping.attention": ["shared", "plain"],
    },
    "objectives": ["cycles", "dsp"],
}
"""24 points, some of which cannot be mapped."""
LARGE_PARAMETERS = {
    "queue_depth": [2, 4, 8, 16],
    "outstanding": [1, 2, 4],
    "memory.latency": {"from": 8, "to": 24, "step": 8},
}
"""Make 36 times as many."""


def save_small(folder: Path) -> None:
    """Save a network of a few thousand weights."""
    network = sample_network("prenorm")
    file = io.BytesIO()
    np.save(file, sample_images(network, 4))
    save_network(network, folder, {CALIBRATION_FILE: file.getvalue()})


def write_space(path: Path, **changes: Any) -> Path:
    """Write the small space with some keys changed; None leaves a key out."""
    content = {key: value for key, value in (SMALL | changes).items() if value is not None}
    path.write_text(yaml.safe_dump(content, sort_keys=False))
    return path
