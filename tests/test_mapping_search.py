"""dataflow.mapping_search: the best of all mappings where they can be counted, never a worse."""

from collections.abc import Iterable
from math import prod
from pathlib import Path

import pytest

from moesaic.dataflow.choices import AHEAD, Freedom, Freedoms
from moesaic.dataflow.mapping_search import _Search, search_mapping
from moesaic.dataflow.mapping_space import LAGS, SEARCHED, chains, coordinates, tried
from moesaic.dataflow.options import STANDARD, MapOptions
from moesaic.models.errors import InputError
from moesaic.sim.mapping import MappingRequest, find_mapping
from tests.mapping_cases import PLAIN, SPECS, TINY, choices, fewest, network
from tests.sweep_cases import save_small

LAYERS: dict[str, tuple[str, tuple[str, ...], tuple[str, ...]]] = {
    "patches": ("prenorm", ("patches",), PLAIN),
    "keys": ("prenorm", ("block0.k",), PLAIN),
    "hidden": ("prenorm", ("block0.fc1",), PLAIN),
    "add": ("postnorm", ("block0.fc2",), PLAIN),
    "heads": ("prenorm", ("block0.attn.scores",), ("heads", "slots", "order", "values")),
    "normalised": ("selected", ("block0.norm1", "block0.q"), ("rows", "tiles")),
    "rows": ("pooled", ("block0.attn.scores", "block0.attn.softmax"), ("rows", "values")),
    "projections": ("prenorm", ("block0.q", "block0.k", "block0.v"), ("tiles",)),
    "routing": ("experts", ("block0.gate", "block0.experts.0.hidden"), PLAIN),
    "experts": ("experts", ("block0.experts.1.hidden", "block0.experts.1"), PLAIN),
    "gate": ("experts", ("block0.norm2", "block0.gate.logits"), ("rows",)),
}
"""Layers of networks, and their knobs."""
CASES = [pytest.param(*c, s, id=f"{n}-{s}") for n, c in LAYERS.items() for s in SPECS]
BOUNDED = [c for c in CASES if str(c.id).split("-")[0] in ("heads", "normalised", "hidden")]


def of_layers(there: Freedoms, layers: Iterable[str]) -> Freedoms:
    return {name: there[name] for name in layers}


def size_of(there: Freedoms) -> int:
    return prod(len(freedom.allowed) for its in there.values() for freedom in its.values())


def test_there_are_enough_layers() -> None:
    assert len(CASES) >= 20


@pytest.mark.parametrize(("form", "layers", "knobs", "name"), CASES)
def test_search_finds_the_best_of_all(
    form: str, layers: tuple[str, ...], knobs: tuple[str, ...], name: str
) -> None:
    """Each mapping that the choices allow is mapped and timed here, by itself."""
    spec, cycles = SPECS[name], network(form).counted(SPECS[name])
    there = of_layers(choices(form, spec, knobs), layers)
    assert 3 <= size_of(there) <= 600
    found = search_mapping(cycles, there, knobs=knobs, budget=1000)
    assert found.every
    assert found.cycles == fewest(cycles, there) == cycles(found.options)
    assert found.start_cycles == cycles(STANDARD) >= found.cycles


@pytest.mark.parametrize(("form", "layers", "knobs", "name"), BOUNDED)
def test_bounded_search_finds_it_too(
    form: str, layers: tuple[str, ...], knobs: tuple[str, ...], name: str
) -> None:
    """Half of the mappings are enough on the way down."""
    net, spec = network(form), SPECS[name]
    cycles = net.counted(spec)
    there = of_layers(choices(form, spec, knobs), layers)
    best = search_mapping(cycles, there, knobs=knobs, budget=1000)
    links = [chain for chain in chains(net.graph) if set(chain) <= set(there)]
    bounded = search_mapping(cycles, there, knobs=knobs, links=links, budget=best.tried // 2)
    assert not bounded.every
    assert bounded.tried <= best.tried // 2
    assert bounded.cycles == best.cycles


def test_whole_network_by_chains_and_layers() -> None:
    """Deterministic, within its budget, and better than what the mapper takes by itself."""
    net, spec = network("prenorm"), SPECS["small-rings"]
    there = choices("prenorm", spec, SEARCHED)
    heard = []
    runs = [
        search_mapping(
            net.counted(spec),
            there,
            links=chains(net.graph),
            budget=300,
            seed=seed,
            progress=lambda *what: heard.append(what),
        )
        for seed in (3, 3, 4)
    ]
    assert runs[0] == runs[1]
    assert all(run.tried == 300 and not run.every for run in runs)
    assert all(run.cycles < run.start_cycles for run in runs)
    assert [tried for tried, _, _ in heard[:299]] == list(range(2, 301))
    assert heard[298] == (300, 300, runs[0].cycles)
    fewer = search_mapping(net.counted(spec), there, links=chains(net.graph), budget=40)
    assert fewer.tried == 40
    assert fewer.cycles >= runs[0].cycles


def test_start_is_kept_where_nothing_is_better() -> None:
    there = of_layers(choices("prenorm", TINY), ["block0.norm1"])
    found = search_mapping(lambda _: 7, there, budget=100)
    assert (found.options, found.cycles, found.every) == (STANDARD, 7, True)
    start = MapOptions(lag=3)
    assert search_mapping(lambda _: 7, there, start=start, budget=1).options == start


def test_mappings_that_do_not_fit_are_passed_over() -> None:
    there = of_layers(choices("prenorm", TINY), ["block0.norm1"])

    def cycles(options: MapOptions) -> int:
        rows = [choice.rows for _, choice in options.layers]
        if rows == [3]:
            return 5
        if rows:
            raise InputError("no room")
        return 9

    assert search_mapping(cycles, there, budget=100).cycles == 5
    with pytest.raises(InputError, match="no room"):
        search_mapping(cycles, there, start=search_for(2), budget=100)


def search_for(rows: int) -> MapOptions:
    from moesaic.dataflow.choices import LayerChoice

    return MapOptions(layers=(("block0.norm1", LayerChoice(rows=rows)),))


def test_values_that_are_tried() -> None:
    many = Freedom(chosen=99, usual=99, allowed=range(1, 100))
    assert tried("rows", many) == (99, 1, 13, 17, 25, 33, 50)
    few = Freedom(chosen=2, usual=2, allowed=range(1, 9))
    assert tried("tiles", few) == (2, 1, 3, 4, 5, 6, 7, 8)
    ahead = Freedom(chosen=0, usual=0, allowed=range(AHEAD + 1))
    assert tried("ahead", ahead) == (0, 1, 2, 3, 4, 6, 8, 12, 16)
    words = Freedom(chosen="a", usual="a", allowed=("a", "b"))
    assert tried("order", words) == ("a", "b")


def test_way_down_passes_coordinates_that_bring_nothing() -> None:
    """It goes on until a whole round brings nothing, and ends where no single change does."""
    there = choices("prenorm", TINY, ("rows",))
    walk = coordinates(there, ("rows",), (), (), alike=False)
    goal = dict.fromkeys(list(there)[2::3], 3)
    assert len(goal) >= 3

    def cycles(options: MapOptions) -> int:
        rows = {name: choice.rows for name, choice in options.layers}
        return 10 * len(there) - sum(rows.get(name) == goal.get(name) for name in there)

    search = _Search(cycles, STANDARD, there, 10_000, lambda *_: None)
    end = search.descend(STANDARD, walk)
    assert {name: choice.rows for name, choice in end.layers} == goal


def test_orders_are_tried_where_rows_are_cut() -> None:
    there = of_layers(choices("prenorm", TINY), ["block0.q"])
    (one,) = coordinates(there, ("rows", "order"), (), (), alike=False)
    pairs = {tuple(value for _, _, value in change) for change in one}
    assert pairs == {(7, "tiles")} | {
        (rows, order) for rows in range(1, 7) for order in ("tiles", "first", "rows")
    }


def test_layers_of_one_form_change_together() -> None:
    """Experts are alike; whatever changes in one of them changes in all."""
    there = choices("experts", TINY)
    alike = coordinates(there, ("tiles",), (), (), alike=True)
    single = coordinates(there, ("tiles",), (), (), alike=False)
    hidden = {f"block0.experts.{i}.hidden" for i in range(4)}
    touched = [{name for change in one for name, _, _ in change} for one in alike]
    assert hidden in touched
    assert all(len({name for change in one for name, _, _ in change}) == 1 for one in single)
    whole = coordinates(there, SEARCHED, (1, 2), (), alike=True)[-2:]
    assert [[change[0][2] for change in one] for one in whole] == [list(LAGS), [0, 1, 2]]


def test_result_is_kept_by_content(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The same question is answered from the cache; another one, or a broken file, is not."""
    monkeypatch.setenv("MOESAIC_CACHE", str(tmp_path / "cache"))
    save_small(tmp_path / "small")
    request = MappingRequest(model=str(tmp_path / "small"), accel="tiny", budget=30)
    first, second = find_mapping(request), find_mapping(request)
    assert (first.known, second.known) == (False, True)
    assert first.found == second.found
    assert first.text == second.text
    other = MappingRequest(model=str(tmp_path / "small"), accel="tiny", budget=31)
    assert not find_mapping(other).known
    for path in (tmp_path / "cache" / "mappings").glob("*.json"):
        path.write_text("{")
    again = find_mapping(request)
    assert not again.known
    assert again.found == first.found


def test_batches_may_go_in_smaller_groups(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MOESAIC_CACHE", str(tmp_path / "cache"))
    save_small(tmp_path / "small")
    request = MappingRequest(
        model=str(tmp_path / "small"), accel="tiny", batch=4, budget=100, knobs=("images", "lag")
    )
    found = find_mapping(request).found
    assert found.every
    assert found.tried == 1 + len(LAGS) * 3 - 1  # of 4, 1 or 2 images
    assert found.cycles <= found.start_cycles


@pytest.mark.nightly
def test_m3vit_tiny_on_zcu102_is_no_slower(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MOESAIC_CACHE", str(tmp_path))
    found = find_mapping(MappingRequest(model="m3vit-tiny", accel="zcu102")).found
    assert found.start_cycles == 385_323
    assert found.cycles < found.start_cycles
