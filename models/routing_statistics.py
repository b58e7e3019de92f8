"""Who gets which token: queue lengths, unused experts, and what experts specialise in."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from moesaic.models.float_run import run_float
from moesaic.models.network import Gate, Network

Counts = NDArray[np.int64]


def gate_values(
    network: Network, images: NDArray[Any], *, batch: int = 8
) -> dict[str, NDArray[np.float64]]:
    """Return each gate's values (images, tokens, experts), zero where a token does not go."""
    names = [layer.name for layer in network.layers if isinstance(layer, Gate)]
    parts: dict[str, list[NDArray[Any]]] = {name: [] for name in names}
    for first in range(0, len(images), batch):
        values = run_float(network, images[first : first + batch])
        for name in names:
            parts[name].append(values[name])
    return {name: np.concatenate(list_) for name, list_ in parts.items()}


def queue_lengths(network: Network, images: NDArray[Any]) -> dict[str, Counts]:
    """Return, by gate, how many tokens of each image go to each expert: (images, experts)."""
    gates = gate_values(network, images)
    return {name: (value > 0).sum(axis=1).astype(np.int64) for name, value in gates.items()}


def used_experts(lengths: dict[str, Counts]) -> NDArray[np.int64]:
    """Return how many experts have a token at all, (images, gates)."""
    return np.stack([(length > 0).sum(axis=1) for length in lengths.values()], axis=1)


def choices_by_class(
    network: Network, images: NDArray[Any], classes: NDArray[np.int64], count: int
) -> dict[str, Counts]:
    """Return, by gate, how often a token of a class goes to an expert: (experts, count).

    `classes` is (images, patches), each below `count`; a class token has none and is left out.
    """
    out = {}
    for name, value in gate_values(network, images).items():
        chosen = value[:, : classes.shape[1]] > 0
        one_hot = np.eye(count, dtype=np.int64)[classes]
        out[name] = np.einsum("ite,itc->ec", chosen.astype(np.int64), one_hot)
    return out


def class_information(counts: Counts) -> float:
    """Return the mutual information of expert and class, in bits, from (experts, classes) counts.

    Zero where experts do not care about the class; at most the entropy of either.
    """
    joint = counts / counts.sum()
    independent = joint.sum(axis=1, keepdims=True) * joint.sum(axis=0, keepdims=True)
    some = joint > 0
    return float((joint[some] * np.log2(joint[some] / independent[some])).sum())
