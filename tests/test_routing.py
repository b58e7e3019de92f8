"""models.routing against floating point, and against its own definition where it is discrete."""

import numpy as np
import pytest

from moesaic.models.routing import Ints, largest, route

WIDE = {8: 16, 16: 24}


def logits(experts: int, spread: float, *, tokens: int = 300, seed: int = 0) -> Ints:
    real = np.random.default_rng(seed).normal(0, spread * 256, (tokens, experts))
    return np.clip(np.rint(real), -(1 << 15), (1 << 15) - 1).astype(np.int64)


@pytest.mark.parametrize("renormalise", [False, True])
@pytest.mark.parametrize("top", [1, 2, 3, 4])
@pytest.mark.parametrize("experts", [4, 8, 16, 33, 64])
@pytest.mark.parametrize("data_bits", [8, 16])
def test_scores_are_those_of_softmax(
    data_bits: int, experts: int, top: int, renormalise: bool
) -> None:
    """Within a unit and a half of 2**-16: tables, the inverse (2**-17) and the rounding."""
    x = logits(experts, 2.0)
    routing = route(x, top=top, lanes=16, data_bits=data_bits, renormalise=renormalise)
    powers = np.exp2(x / 256)
    chosen = np.take_along_axis(powers, routing.experts, axis=1)
    total = (chosen if renormalise else powers).sum(axis=1, keepdims=True)
    error = routing.scores - np.minimum(65536 * chosen / total, 65535)
    assert np.abs(error).max() < 1.5
    assert abs(float(error.mean())) < 0.5
    assert routing.scores.max() <= 65535


def test_the_lowest_expert_wins_a_tie() -> None:
    x = np.array([[5, 7, 7, 5], [3, 3, 3, 3], [-1, -2, -1, 0]])
    assert largest(x, 3).tolist() == [[1, 2, 0], [0, 1, 2], [3, 0, 2]]
    routing = route(x, top=2, lanes=4, data_bits=8)
    assert routing.experts.tolist() == [[1, 2], [0, 1], [3, 0]]
    assert routing.scores[1].tolist() == [16384, 16384]


def test_one_expert_takes_all_of_the_weight() -> None:
    routing = route(np.array([[0, 30000], [0, -30000]]), top=1, lanes=2, data_bits=8)
    assert routing.experts.tolist() == [[1], [0]]
    assert routing.scores.tolist() == [[65535], [65535]]


def test_queues_and_table() -> None:
    x = logits(8, 1.0, tokens=50)
    routing = route(x, top=2, lanes=4, data_bits=8)
    table = routing.table()
    assert table.shape == (50, 8)
    assert ((table >= 0).sum(axis=1) == 2).all()
    for expert in range(8):
        queue = routing.queue(expert)
        assert queue.tolist() == [t for t in range(50) if expert in routing.experts[t]]
        assert (table[queue, expert] >= 0).all()
    for t in range(50):
        assert table[t, routing.experts[t]].tolist() == routing.scores[t].tolist()


@pytest.mark.parametrize("banks", [1, 2])
def test_queues_of_a_bank(banks: int) -> None:
    """In the order in which tokens arrive: rank by rank, and ascending in each."""
    routing = route(logits(8, 1.0, tokens=51), top=3, lanes=4, data_bits=8)
    arrived: dict[tuple[int, int], list[tuple[int, int]]] = {}
    for rank in range(3):
        for t in range(51):
            key = int(routing.experts[t, rank]), t % banks
            arrived.setdefault(key, []).append((t // banks, int(routing.scores[t, rank])))
    for expert in range(8):
        for bank in range(banks):
            rows, scores = routing.bank_queue(expert, bank, banks)
            assert list(zip(rows, scores, strict=True)) == arrived.get((expert, bank), [])


def test_order_of_beats_is_part_of_the_numerics() -> None:
    x = np.sort(logits(16, 4.0), axis=1)
    few, many = (route(x, top=2, lanes=lanes, data_bits=8) for lanes in (2, 16))
    assert (few.scores != many.scores).any()
    assert np.abs(few.scores - many.scores).max() <= 2


@pytest.mark.parametrize(
    ("experts", "top", "message"),
    [
        (4, 5, r"top must be in 1..4, not 5"),
        (2, 3, r"top must be in 1..2, not 3"),
        (8, 0, r"top must be in 1..4, not 0"),
        (65, 2, r"experts must be at most 64, not 65"),
    ],
)
def test_refusals(experts: int, top: int, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        route(logits(experts, 1.0, tokens=3), top=top, lanes=4, data_bits=8)
