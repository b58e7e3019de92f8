"""Compares a run with the models: every tensor to the bit, every command to the cycle."""

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from moesaic.dataflow.cycles import Timing
from moesaic.dataflow.packing import pack_tokens
from moesaic.dataflow.program import Program
from moesaic.models.commands import UNITS, Buffer, Command, Unit
from moesaic.models.execute import MULTIPLIER, SHIFT
from moesaic.models.geometry import narrow_word
from moesaic.models.graph import Constant, Ints, Mix, Scores, Softmax
from moesaic.sim.system import RunLog

WIDE = (Buffer.SCORE, Buffer.RESIDUAL)


@dataclass(slots=True, kw_only=True)
class LayerCheck:
    """One tensor: values compared, how many differ, and the first difference in words."""

    name: str
    compared: int = 0
    different: int = 0
    first: str = ""

    def add(self, got: Ints, expected: Ints, where: str) -> None:
        """Compare two arrays of one shape."""
        self.compared += expected.size
        bad = np.argwhere(got != expected)
        if len(bad):
            at = tuple(int(i) for i in bad[0])
            self.first = self.first or (
                f"{where} at {at}: RTL {int(got[at])}, model {int(expected[at])}"
            )
            self.different += len(bad)


@dataclass(slots=True, kw_only=True)
class Comparison:
    """All tensors of one run."""

    layers: dict[str, LayerCheck] = field(default_factory=dict)

    def layer(self, name: str) -> LayerCheck:
        """Return the check of one node."""
        return self.layers.setdefault(name, LayerCheck(name=name))

    @property
    def mismatches(self) -> int:
        """Layers with at least one different value."""
        return sum(check.different > 0 for check in self.layers.values())

    @property
    def first(self) -> str:
        """The first difference."""
        return next((f"{c.name}: {c.first}" for c in self.layers.values() if c.different), "")


def compare_tensors(program: Program, log: RunLog, tensors: list[dict[str, Ints]]) -> Comparison:
    """Compare all that the units wrote with the tensors of each image of the batch."""
    out = Comparison()
    _compare_loads(program, log, tensors, out)
    _compare_array(program, log, tensors, out)
    _compare_vector(program, log, tensors, out)
    return out


def compare_cycles(program: Program, log: RunLog, timing: Timing) -> str:
    """Return the first command whose cycles differ from the prediction, or an empty string."""
    for unit in UNITS:
        places = [i for i, c in enumerate(program.commands) if c["unit"] == unit]
        first = 1 if unit == Unit.LOAD else 0  # the command processor's own fetch
        for what, got, predicted in (
            ("taken", log.accepted[unit], timing.accepted),
            ("done", log.done[unit], timing.done),
        ):
            expected = np.array([predicted[i] for i in places], dtype=np.int64)
            seen = got[first:]
            if len(seen) != len(expected):
                return f"{unit.name}: {len(seen)} commands {what}, predicted {len(expected)}"
            bad = np.flatnonzero(seen != expected)
            if len(bad):
                i = int(bad[0])
                note = program.notes[places[i]]
                return (
                    f"{unit.name} command {i} ({note.node} part {note.part}) {what} in cycle "
                    f"{int(seen[i])}, predicted {int(expected[i])}"
                )
    if log.cycles != timing.cycles:
        return f"run of {log.cycles} cycles, predicted {timing.cycles}"
    return ""


def _images(program: Program, unit: Unit) -> list[tuple[Command, str, int, int]]:
    """Return a unit's commands with node, part and image; a node's parts repeat per image."""
    seen: dict[tuple[str, int], int] = {}
    out = []
    for command, note in program.of_unit(unit):
        key = (note.node, note.part)
        image = seen.get(key, 0)
        seen[key] = image + 1
        out.append((command, note.node, note.part, image))
    return out


def _compare_array(
    program: Program, log: RunLog, tensors: list[dict[str, Ints]], out: Comparison
) -> None:
    spec, at = program.spec, 0
    banks, columns = spec.tokens_per_beat, spec.columns
    for command, name, part, image in _images(program, Unit.STREAM):
        n_tiles, rows = command["n_tiles"], command["beats"]
        records = log.array[at : at + n_tiles * rows].reshape(-1)
        at += n_tiles * rows
        check = out.layer(name)
        if len(records) != n_tiles * rows:
            check.add(np.array([len(records)]), np.array([n_tiles * rows]), "number of results")
            continue
        results = records.reshape(n_tiles, rows)
        dest = Buffer(command["dest"])
        word = narrow_word(spec, dest)
        position = command["dest_position"] + columns * np.arange(n_tiles)[:, None]
        words = (
            command["dest_base"]
            + position // word
            + command["dest_pitch"] * np.arange(rows)[None, :]
        )
        check.add(results["dest"], np.full_like(results["dest"], dest), "destination")
        check.add(results["word"].astype(np.int64), words, "address")
        slices = np.broadcast_to(position % word // columns, words.shape)
        check.add(results["slice"].astype(np.int64), slices, "slice")
        enables = np.full((n_tiles, rows), (1 << banks) - 1)
        enables[:, -1] >>= command.get("odd", 0)
        check.add(results["valid"].astype(np.int64), enables, "banks")

        values = results["wide" if dest in WIDE else "narrow"].astype(np.int64)
        tokens = values.transpose(1, 2, 0, 3).reshape(rows * banks, n_tiles * columns)
        node = program.graph[name]
        expected = tensors[image][name]
        first = command["dest_position"]
        if isinstance(node, Scores):
            expected = expected[part]
            places = np.arange(expected.shape[1])
        else:
            channels = program.channels[name][: expected.shape[1]]
            mine = np.flatnonzero((channels >= first) & (channels < first + n_tiles * columns))
            if isinstance(node, Mix):
                head = part * node.head_channels
                mine = np.arange(head, head + node.head_channels)
            expected, places = expected[:, mine], channels[mine] - first
        count = min(len(expected), rows * banks - command.get("odd", 0))
        check.add(tokens[:count, places], expected[:count], f"part {part} of image {image}")
    _nothing_more(log.array[at:], program, out)


def _compare_vector(
    program: Program, log: RunLog, tensors: list[dict[str, Ints]], out: Comparison
) -> None:
    spec, at, stat_at = program.spec, 0, 0
    for command, name, part, image in _images(program, Unit.VECTOR):
        tokens, beats = command["tokens"], command["beats"]
        records = log.vector[at : at + tokens * beats]
        at += tokens * beats
        check = out.layer(name)
        if len(records) != tokens * beats:
            check.add(np.array([len(records)]), np.array([tokens * beats]), "number of results")
            continue
        dest = Buffer(command["dest"])
        word = narrow_word(spec, dest)
        place = command.get("dest_token", 0) + np.arange(tokens)[:, None]
        position = command.get("dest_position", 0) + spec.lanes * np.arange(beats)[None, :]
        words = (
            command["dest_base"]
            + place // spec.tokens_per_beat * command["dest_pitch"]
            + position // word
        )
        got = records.reshape(tokens, beats)
        check.add(got["buffer"].astype(np.int64), np.full_like(words, dest), "destination")
        check.add(got["word"].astype(np.int64), words, "address")
        banks = np.broadcast_to(place % spec.tokens_per_beat, words.shape)
        check.add(got["bank"].astype(np.int64), banks, "bank")
        slices = np.broadcast_to(position % word // spec.lanes, words.shape)
        check.add(got["sub"].astype(np.int64), slices, "slice")
        values = got["wide" if dest in WIDE else "narrow"].astype(np.int64)
        matrix = values.reshape(tokens, beats * spec.lanes)
        node = program.graph[name]
        expected = tensors[image][name]
        where = f"part {part} of image {image}"
        if isinstance(node, Softmax):
            stats = log.rowstat[stat_at : stat_at + tokens]
            stat_at += tokens
            if len(stats) != tokens:
                check.add(np.array([len(stats)]), np.array([tokens]), "number of row statistics")
                continue
            rows = command["rowstat_base"] + place[:, 0] // spec.tokens_per_beat
            check.add(stats["row"].astype(np.int64), rows, f"row of statistics {where}")
            check.add(
                stats["bank"].astype(np.int64),
                place[:, 0] % spec.tokens_per_beat,
                f"bank of statistics {where}",
            )
            for field_name, suffix in (("multiplier", MULTIPLIER), ("shift", SHIFT)):
                model = tensors[image][name + suffix][part]
                check.add(stats[field_name].astype(np.int64), model, f"{field_name} {where}")
            expected = expected[part]
        check.add(matrix[:, : expected.shape[1]], expected, where)
        check.add(
            matrix[:, expected.shape[1] :],
            np.zeros_like(matrix[:, expected.shape[1] :]),
            f"padding {where}",
        )
    _nothing_more(log.vector[at:], program, out)
    _nothing_more(log.rowstat[stat_at:], program, out)


def _nothing_more(records: NDArray[Any], program: Program, out: Comparison) -> None:
    """Count results that no command asked for against the last node."""
    check = out.layer(program.graph.nodes[-1].name)
    check.add(np.array([len(records)]), np.array([0]), "results beyond the last command's")


def _compare_loads(
    program: Program, log: RunLog, tensors: list[dict[str, Ints]], out: Comparison
) -> None:
    """Constants of the residual stream arrive as they are in memory."""
    spec, at = program.spec, 0
    for command, name, _part, image in _images(program, Unit.LOAD):
        if command["buffer"] != Buffer.RESIDUAL or not isinstance(program.graph[name], Constant):
            continue
        beats = command["row_beats"]
        records = log.load[at : at + beats]
        at += beats
        if len(records) != beats:
            out.layer(name).add(np.array([len(records)]), np.array([beats]), "number of beats")
            continue
        lines = command["line"] + np.arange(beats)
        out.layer(name).add(records["line"].astype(np.int64), lines, "line")
        got = records["data"].reshape(-1)
        expected = pack_tokens(
            tensors[image][name], spec=spec, word=spec.wide_word, value_bytes=spec.wide_bytes
        )
        out.layer(name).add(got, expected.astype(np.int64), f"bytes of image {image}")
