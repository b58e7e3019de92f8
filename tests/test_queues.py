"""hw.queues against lists, and against what models.routing says of them."""

from dataclasses import replace

import numpy as np
import pytest

from moesaic.hw.queues import LOOK_UPS, Queues
from moesaic.models.accel import AccelSpec
from moesaic.models.pipeline import RAM_READ
from moesaic.models.routing import Routing, route
from moesaic.sim.cycle_bench import run_cycles

Event = tuple[int, int, int, int] | str  # bank, row, expert, score; or "start", or "idle"
Entry = tuple[int, int]  # row, score


def make_spec(experts: int, psum_depth: int, tokens_per_beat: int) -> AccelSpec:
    return AccelSpec(
        rows=8,
        columns=8,
        tokens_per_beat=tokens_per_beat,
        lanes=8,
        experts=experts,
        psum_depth=psum_depth,
    )


SPECS = [make_spec(2, 8, 1), make_spec(8, 16, 2), make_spec(64, 8, 2)]
ANY_SPEC = pytest.mark.parametrize(
    "spec", SPECS, ids=lambda s: f"experts{s.experts}-depth{s.psum_depth}-p{s.tokens_per_beat}"
)


def arrivals(spec: AccelSpec, routing: Routing) -> list[Event]:
    """Return tokens in the order in which ROUTE finds them."""
    return [
        (t % spec.tokens_per_beat, t // spec.tokens_per_beat, int(expert), int(score))
        for experts, scores in zip(routing.experts.T, routing.scores.T, strict=True)
        for t, (expert, score) in enumerate(zip(experts, scores, strict=True))
    ]


def routed(spec: AccelSpec, *, top: int, tokens: int, spread: float = 300.0) -> Routing:
    """Return a routing of random logits; with no spread, all tokens go to the first experts."""
    real = np.random.default_rng(tokens).normal(0, spread, (tokens, spec.experts))
    logits = np.rint(real).astype(np.int64)
    return route(logits, top=top, lanes=spec.lanes, data_bits=spec.data_bits)


def check(spec: AccelSpec, events: list[Event], *, seed: int = 0) -> list[list[list[Entry]]]:
    """Let the events happen, one a cycle; look up and read in every cycle; return the queues."""
    rng = np.random.default_rng(seed)
    banks, depth = range(spec.tokens_per_beat), spec.psum_depth
    everything = np.arange(spec.experts * depth)
    cycles = len(events) + len(everything) + RAM_READ
    events = events + ["idle"] * (cycles - len(events))
    read = rng.integers(0, len(everything), cycles)
    read[-RAM_READ - len(everything) : -RAM_READ] = everything  # every place at the end
    inputs = {
        "start": [event == "start" for event in events],
        "route__valid": [isinstance(event, tuple) for event in events],
        "read__expert": (read // depth).tolist(),
        "read__place": (read % depth).tolist(),
    }
    for i, name in enumerate(("bank", "row", "expert", "score")):
        inputs[f"route__{name}"] = [int(e[i]) if isinstance(e, tuple) else 1 for e in events]
    asked = {name: rng.integers(0, spec.experts, cycles).tolist() for name in LOOK_UPS}
    most = 1 + depth * spec.tokens_per_beat
    places = {
        name: (rng.integers(0, most, cycles) * rng.integers(0, 2, cycles)).tolist()
        for name in LOOK_UPS
    }
    for name in LOOK_UPS:
        inputs |= {f"{name}__expert": asked[name], f"{name}__place": places[name]}
    trace = run_cycles(Queues(spec), inputs, cycles=cycles)

    def part(name: str, cycle: int, bank: int, width: int) -> int:
        return trace[name][cycle] >> bank * width & ((1 << width) - 1)

    width = depth.bit_length()
    queues: list[list[list[Entry]]] = [[[] for _ in banks] for _ in range(spec.experts)]
    for cycle, event in enumerate(events):
        for name, experts in asked.items():
            lengths = [part(f"{name}__lengths", cycle, bank, width) for bank in banks]
            there = [len(queue) for queue in queues[experts[cycle]]]
            if places[name][cycle]:
                row, only = divmod(places[name][cycle] - 1, len(banks))
                there = [(row + 1) * (bank == only and there[bank] > row) for bank in banks]
            assert lengths == there, (name, cycle)
        expert, place = divmod(int(read[cycle]), depth)
        for bank in banks:
            if place < len(queues[expert][bank]) and cycle + RAM_READ < cycles:
                later = cycle + RAM_READ
                row = part("read__rows", later, bank, width - 1)
                entry = row, part("read__scores", later, bank, 16)
                assert entry == queues[expert][bank][place], (cycle, expert, place)
        if event == "start":
            queues = [[[] for _ in banks] for _ in range(spec.experts)]
        elif isinstance(event, tuple):
            bank, row, expert, score = event
            queues[expert][bank].append((row, score))
    return queues


@ANY_SPEC
def test_queues_are_those_of_the_model(spec: AccelSpec) -> None:
    routing = routed(spec, top=2, tokens=spec.psum_depth * spec.tokens_per_beat - 1)
    queues = check(spec, arrivals(spec, routing))
    for expert in range(spec.experts):
        for bank in range(spec.tokens_per_beat):
            rows, scores = routing.bank_queue(expert, bank, spec.tokens_per_beat)
            assert queues[expert][bank] == list(zip(rows, scores, strict=True))


@ANY_SPEC
def test_commands_begin_anew(spec: AccelSpec) -> None:
    """With pauses, twice at once, and one that leaves all queues empty."""
    rng = np.random.default_rng(1)
    events: list[Event] = []
    for tokens in (7, 1, 5, 0):
        events += ["start"] * int(rng.integers(1, 3))
        if tokens:
            for event in arrivals(spec, routed(spec, top=1, tokens=tokens)):
                events += [*["idle"] * int(rng.integers(3)), event]
    queues = check(spec, events, seed=1)
    assert not any(queue for expert in queues for queue in expert)


@ANY_SPEC
def test_all_tokens_go_to_one_expert(spec: AccelSpec) -> None:
    tokens = spec.psum_depth * spec.tokens_per_beat
    for expert in (0, spec.experts - 1):
        routing = routed(spec, top=1, tokens=tokens, spread=0.0)
        events = arrivals(spec, replace(routing, experts=routing.experts + expert))
        queues = check(spec, ["start", *events])
        assert [len(queue) for queue in queues[expert]] == [spec.psum_depth] * spec.tokens_per_beat
