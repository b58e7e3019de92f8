"""Compares a run with the models: every tensor to the bit, every command to the cycle."""

import numpy as np
from numpy.typing import NDArray

from moesaic.dataflow.cycles import Timing
from moesaic.dataflow.packing import pack_tokens
from moesaic.dataflow.program import Program
from moesaic.models.accel import AccelSpec
from moesaic.models.commands import UNITS, Buffer, Command, Unit, VectorOp
from moesaic.models.execute import MULTIPLIER, SHIFT
from moesaic.models.geometry import narrow_word
from moesaic.models.graph import Constant, Ints, Softmax
from moesaic.models.vector_timing import sweeps
from moesaic.sim.compare_array import Tokens, compare_array
from moesaic.sim.comparison import WIDE, Comparison, LayerCheck, nothing_more
from moesaic.sim.system import RunLog


def compare_tensors(program: Program, log: RunLog, tensors: list[dict[str, Ints]]) -> Comparison:
    """Compare all that the units wrote with the tensors of each image of the batch."""
    out = Comparison()
    _compare_loads(program, log, tensors, out)
    tokens = Tokens(program, tensors)
    compare_array(program, log, tokens, out)
    _compare_vector(program, log, tensors, out)
    _compare_routes(program, log, tokens, out)
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


def _compare_vector(
    program: Program, log: RunLog, tensors: list[dict[str, Ints]], out: Comparison
) -> None:
    spec, at, stat_at = program.spec, 0, 0
    for command, note in program.of_unit(Unit.VECTOR):
        name, part, image = note.node, note.part, note.image
        if command["op"] == VectorOp.ROUTE:
            continue
        tokens, beats = command["tokens"], command["beats"]
        _, times = sweeps(VectorOp(command["op"]), passes=command.get("passes", 0))
        size = times * tokens * beats
        records = log.vector[at : at + size]
        at += size
        check = out.layer(name)
        if len(records) != size:
            check.add(np.array([len(records)]), np.array([size]), "number of results")
            continue
        node = program.graph[name]
        expected = tensors[image][name]
        where = f"part {part} of image {image}"
        mine = slice(note.row * spec.tokens_per_beat, note.row * spec.tokens_per_beat + tokens)
        if isinstance(node, Softmax):
            stats = log.rowstat[stat_at : stat_at + tokens]
            stat_at += tokens
            if len(stats) != tokens:
                check.add(np.array([len(stats)]), np.array([tokens]), "number of row statistics")
                continue
            place = command.get("dest_token", 0) + np.arange(tokens)
            rows = command["rowstat_base"] + place // spec.tokens_per_beat
            check.add(stats["row"].astype(np.int64), rows, f"row of statistics {where}")
            check.add(
                stats["bank"].astype(np.int64),
                place % spec.tokens_per_beat,
                f"bank of statistics {where}",
            )
            for field_name, suffix in (("multiplier", MULTIPLIER), ("shift", SHIFT)):
                model = tensors[image][name + suffix][part][mine]
                check.add(stats[field_name].astype(np.int64), model, f"{field_name} {where}")
            expected = expected[part]
        for got in records.reshape(times, tokens, beats):
            _compare_sweep(spec, command, got, expected[mine], check, where)
    nothing_more(log.vector[at:], program, out)
    nothing_more(log.rowstat[stat_at:], program, out)


def _compare_sweep(
    spec: AccelSpec,
    command: Command,
    got: NDArray[np.void],
    expected: Ints,
    check: LayerCheck,
    where: str,
) -> None:
    """Compare places and values that one sweep of a vector command wrote."""
    tokens, beats = got.shape
    dest = Buffer(command["dest"])
    word = narrow_word(spec, dest)
    place = command.get("dest_token", 0) + np.arange(tokens)[:, None]
    position = command.get("dest_position", 0) + spec.lanes * np.arange(beats)[None, :]
    words = (
        command["dest_base"]
        + place // spec.tokens_per_beat * command["dest_pitch"]
        + position // word
    )
    check.add(got["buffer"].astype(np.int64), np.full_like(words, dest), "destination")
    check.add(got["word"].astype(np.int64), words, "address")
    banks = np.broadcast_to(place % spec.tokens_per_beat, words.shape)
    check.add(got["bank"].astype(np.int64), banks, "bank")
    slices = np.broadcast_to(position % word // spec.lanes, words.shape)
    check.add(got["sub"].astype(np.int64), slices, "slice")
    values = got["wide" if dest in WIDE else "narrow"].astype(np.int64)
    matrix = values.reshape(tokens, beats * spec.lanes)
    valid = expected.shape[1]
    check.add(matrix[:, :valid], expected, where)
    check.add(matrix[:, valid:], np.zeros_like(matrix[:, valid:]), f"padding {where}")


def _compare_routes(program: Program, log: RunLog, known: Tokens, out: Comparison) -> None:
    """Winners come sweep by sweep, each of all tokens."""
    at, banks = 0, program.spec.tokens_per_beat
    for command, note in program.of_unit(Unit.VECTOR):
        name, image = note.node, note.image
        if command["op"] != VectorOp.ROUTE:
            continue
        tokens, top = command["tokens"], command["top"]
        records = log.route[at : at + tokens * top]
        at += tokens * top
        check = out.layer(name)
        if len(records) != tokens * top:
            check.add(np.array([len(records)]), np.array([tokens * top]), "number of winners")
            continue
        routing = known.routing(name, image)
        token = np.tile(command.get("dest_token", 0) + np.arange(tokens), top)
        wanted = {
            "bank": token % banks,
            "row": token // banks,
            "expert": routing.experts.T.ravel(),
            "score": routing.scores.T.ravel(),
        }
        for field, values in wanted.items():
            check.add(records[field].astype(np.int64), values, f"{field} of image {image}")
    nothing_more(log.route[at:], program, out)


def _compare_loads(
    program: Program, log: RunLog, tensors: list[dict[str, Ints]], out: Comparison
) -> None:
    """Constants of the residual stream arrive as they are in memory."""
    spec, at = program.spec, 0
    for command, note in program.of_unit(Unit.LOAD):
        name, image = note.node, note.image
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
