"""C++ of hls_templates, compiled by g++, against the models, bit for bit."""

from pathlib import Path

import pytest

from moesaic.hls_templates.attention import Attention
from moesaic.hls_templates.catalogue import KINDS
from moesaic.hls_templates.softmax import MULTIPLIER, SHIFT, Softmax
from moesaic.models.softmax import softmax
from tests.hls_cases import grid, run

KIND_IDS = [*KINDS, "block"]


@pytest.mark.parametrize("kind", KIND_IDS)
def test_cpp_equals_model(kind: str, tmp_path: Path) -> None:
    units = grid(kind)
    outcome = run(units, tmp_path)
    assert outcome.equal, "\n".join(outcome.lines)
    assert len(outcome.lines) == len(units)
    for unit, line in zip(units, outcome.lines, strict=True):
        count = len(unit.vectors(1).inputs)
        assert line == f"{unit.name}: {count} of {count} cases equal"


@pytest.mark.parametrize(("tokens", "slots"), [(129, 4), (10, 4), (3, 5), (8, 8), (1, 1), (7, 1)])
def test_a_key_is_read_once_for_all_slots(tokens: int, slots: int) -> None:
    """Steps by walking query after query; with one slot each reads all keys."""
    free = [0] * slots
    for query in range(tokens):
        slot = query % slots
        begin = max(free[slot], query // slots * tokens + slot)
        free[slot] = begin + tokens
    assert Attention(tokens=tokens, slots=slots).steps == max(free)


@pytest.mark.parametrize("lanes", [4, 8, 16])
def test_vectors_show_the_order_of_the_sum(lanes: int) -> None:
    """Rows whose multiplier is another one where beats have other lanes."""
    unit = Softmax(length=64, lanes=lanes)
    cases = unit.vectors(1)
    rows = cases.inputs[(cases.inputs[:, 65] == MULTIPLIER) & (cases.inputs[:, 66] == SHIFT)]
    scales = [
        softmax(
            rows[:, :64], valid=64, multiplier=MULTIPLIER, shift=SHIFT, lanes=other, data_bits=8
        )[1]
        for other in (1, lanes, 2 * lanes)
    ]
    assert (scales[0] != scales[1]).any()
    assert (scales[2] != scales[1]).any()


def test_queues_of_the_gate_are_full_and_empty() -> None:
    for unit in grid("gate"):
        ports, outputs = unit.vectors(1).ports, unit.vectors(1).outputs
        first = ports["expert"] + ports["score"]
        lengths = outputs[:, first : first + ports["queue_length"]]
        assert lengths.min() == 0
        assert lengths.max() == unit.constants()["depth"]
