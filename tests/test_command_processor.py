"""hw.command_processor: blocks, cycles of dispatches, full queues, END; then with gates."""

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pytest
from amaranth.hdl import Module
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out, connect, flipped

from moesaic.dataflow.kernel import LONG_AGO, leave
from moesaic.hw.buffer_port import buffer_write
from moesaic.hw.command_layout import command_layout
from moesaic.hw.command_processor import CommandProcessor
from moesaic.hw.issue import Issue
from moesaic.models.accel import AccelSpec
from moesaic.models.commands import (
    COMMAND_BYTES,
    COUNT_BITS,
    UNITS,
    Buffer,
    Command,
    Unit,
    decode,
    encode,
)
from moesaic.sim.cycle_bench import Trace, VerilatorBench, run_cycles

WAITS = {unit: f"wait_{unit.name.lower()}" for unit in UNITS}
LONG = 6000
PROGRAM = 0x12_3456_7000


def make_spec(bus_bytes: int, block: int) -> AccelSpec:
    return AccelSpec(
        rows=64, columns=32, lanes=8, bus_bytes=bus_bytes, block_commands=block, queue_depth=2
    )


SPECS = [make_spec(4, 4), make_spec(16, 8), make_spec(64, 4)]


def name(spec: AccelSpec) -> str:
    return f"bus{spec.bus_bytes}-block{spec.block_commands}"


@dataclass(slots=True)
class Stimulus:
    """Inputs by cycle: random dones, and beats of blocks when the test puts them there."""

    spec: AccelSpec
    rng: np.random.Generator
    done: np.ndarray = field(init=False)  # units, cycles
    inputs: dict[str, list[int]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.done = self.rng.random((len(UNITS), LONG)) < 0.05

    def drive(self, cycle: int, **values: int) -> None:
        for name, value in values.items():
            self.inputs.setdefault(name, [0] * LONG)[cycle] = value

    def done_words(self) -> list[int]:
        return (self.done.T @ (1 << np.arange(len(UNITS)))).tolist()

    def block(self, number: int, commands: list[Command], cycle: int, pause: float) -> int:
        """Bring a block's beats from `cycle` on, beside other loads; return the last's cycle."""
        spec = self.spec
        data = b"".join(encode(c) for c in commands).ljust(
            spec.block_commands * COMMAND_BYTES, b"\xee"
        )
        first = number % 2 * (len(data) // spec.bus_bytes)
        for i in range(0, len(data), spec.bus_bytes):
            while self.rng.random() < pause:
                noise = int.from_bytes(self.rng.bytes(spec.bus_bytes))
                line = int(self.rng.integers(1 << 10))
                self._load(cycle, Buffer.WEIGHT, line, noise)
                cycle += 1
            beat = int.from_bytes(data[i : i + spec.bus_bytes], "little")
            self._load(cycle, Buffer.COMMAND, first + i // spec.bus_bytes, beat)
            cycle += 1
        return cycle - 1

    def _load(self, cycle: int, buffer: Buffer, line: int, data: int) -> None:
        self.drive(cycle, load__valid=1, load__buffer=buffer, load__line=line, load__data=data)

    def count(self, unit: Unit, start: int, cycle: int) -> int:
        """Return what a count shows: commands done after the start and before `cycle`."""
        return int(self.done[UNITS.index(unit), start + 1 : cycle].sum())


def random_program(spec: AccelSpec, rng: np.random.Generator, length: int) -> list[Command]:
    commands = [
        {"unit": UNITS[int(u)], "tag": i} for i, u in enumerate(rng.integers(0, 5, length - 1))
    ]
    return [*commands, {"unit": Unit.END, "tag": length - 1}]


def blocks(spec: AccelSpec, program: list[Command]) -> list[list[Command]]:
    size = spec.block_commands
    return [program[i : i + size] for i in range(0, len(program), size)]


@dataclass(slots=True)
class Run:
    """What one run is to do: dispatches as (unit, command) by cycle, start and finish."""

    start: int
    finish: int = 0
    offered: dict[int, tuple[Unit, Command]] = field(default_factory=dict)


def expect(
    stimulus: Stimulus, program: list[Command], start: int, ready: np.ndarray, pause: float
) -> Run:
    """Bring the blocks and return what happens; END waits for what will be done some time later."""
    spec, run = stimulus.spec, Run(start)
    parts = blocks(spec, program)
    first = {
        "unit": Unit.LOAD,
        "address": PROGRAM,
        "rows": 1,
        "row_beats": spec.block_commands * COMMAND_BYTES // spec.bus_bytes,
        "buffer": Buffer.COMMAND,
    }
    run.offered[start + 1] = (Unit.LOAD, first)
    read = start + 2
    there = stimulus.block(0, parts[0], start + 4, pause)
    for number, part in enumerate(parts):
        read = max(read, there + 1)
        for i, command in enumerate(part):
            cycle = read + 1
            if command["unit"] == Unit.END:
                late = [WAITS[u] for u in UNITS]
                while any(
                    stimulus.count(u, start, cycle) < command[w]
                    for u, w in zip(UNITS, late, strict=True)
                ):
                    cycle += 1
                run.finish = cycle
                return run
            unit = Unit(command["unit"])
            run.offered[cycle] = (unit, command)
            while not ready[unit, cycle]:
                cycle += 1
                run.offered[cycle] = (unit, command)
            read = cycle + 1
            if i == 0 and number + 1 < len(parts):
                # the first command of a block fetches the next one
                there = stimulus.block(number + 1, parts[number + 1], cycle + 2, pause)
    raise AssertionError("the program has no END")


def end_waits(stimulus: Stimulus, program: list[Command], start: int, about: int) -> None:
    """Let END wait for the counts of about that cycle, some of them long past."""
    for unit in UNITS:
        back = int(stimulus.rng.integers(0, 200))
        cycle = max(start + 1, about - back)
        program[-1][WAITS[unit]] = stimulus.count(unit, start, cycle)


@pytest.mark.parametrize("stall", [0.0, 0.5], ids=["eager", "stalling"])
@pytest.mark.parametrize("spec", SPECS, ids=name)
def test_dispatch(spec: AccelSpec, stall: float) -> None:
    """Two runs of several blocks without a reset between them, the second of whole blocks."""
    rng = np.random.default_rng(spec.bus_bytes)
    stimulus = Stimulus(spec, rng)
    ready = rng.random((len(UNITS), LONG)) >= stall
    runs, start = [], 5
    for length in (1, 3 * spec.block_commands + 2, 2 * spec.block_commands):
        program = random_program(spec, rng, length)
        end_waits(stimulus, program, start, start + 300 + 40 * length)
        stimulus.drive(start, start=1, program=PROGRAM)
        for cycle in range(start + 1, start + 6):
            stimulus.drive(cycle, program=PROGRAM)
        stimulus.drive(start + 9, start=1)  # a start while running is none
        run = expect(stimulus, program, start, ready, pause=stall / 2)
        runs.append(run)
        start = run.finish + int(rng.integers(1, 10))
    cycles = start
    inputs = stimulus.inputs | {"done_in": stimulus.done_words()}
    inputs |= {f"queues__{i}__ready": ready[i].astype(int).tolist() for i in range(len(UNITS))}
    trace = run_cycles(CommandProcessor(spec), inputs, cycles=cycles)

    offered = {cycle: offer for run in runs for cycle, offer in run.offered.items()}
    running = {cycle for run in runs for cycle in range(run.start + 1, run.finish + 1)}
    for cycle in range(cycles):
        assert trace["running"][cycle] == (cycle in running), f"cycle {cycle}"
        for unit in UNITS:
            mine = cycle in offered and offered[cycle][0] == unit
            valid = trace[f"queues__{int(unit)}__valid"][cycle]
            assert valid == mine, f"{unit.name} in cycle {cycle}"
            if mine:
                payload = trace[f"queues__{int(unit)}__payload"][cycle].to_bytes(64, "little")
                wanted = decode(encode(offered[cycle][1]))
                assert decode(payload) == wanted, f"{unit.name} in cycle {cycle}"
        start = max((r.start for r in runs if r.start < cycle), default=-1)
        for i, unit in enumerate(UNITS):
            shown = trace["counts"][cycle] >> COUNT_BITS * i & 0xFFFF
            assert shown == stimulus.count(unit, start, cycle), f"{unit.name} in cycle {cycle}"
    assert [cycle for cycle, end in enumerate(trace["finish"]) if end] == [r.finish for r in runs]


class Dispatch(wiring.Component):
    """The command processor with the gates of all units."""

    def __init__(self, spec: AccelSpec) -> None:
        self.spec = spec
        super().__init__(
            {
                "start": In(1),
                "first_block": In(40),
                "beats": In(buffer_write(spec.bus_bytes)),
                "done_in": In(len(UNITS)),
                "finish": Out(1),
                **{u.name.lower(): Out(stream.Signature(command_layout(u))) for u in UNITS},
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        m.submodules.processor = processor = CommandProcessor(self.spec)
        m.d.comb += [
            processor.start.eq(self.start),
            processor.program.eq(self.first_block),
            processor.done_in.eq(self.done_in),
            self.finish.eq(processor.finish),
        ]
        for member in ("valid", "buffer", "line", "data"):
            m.d.comb += getattr(processor.load, member).eq(getattr(self.beats, member))
        for i, unit in enumerate(UNITS):
            gate = Issue(unit, depth=self.spec.queue_depth)
            m.submodules[unit.name.lower()] = gate
            connect(m, processor.queues[i], gate.queue)
            connect(m, gate.command, flipped(getattr(self, unit.name.lower())))
            m.d.comb += gate.counts.eq(processor.counts)
        return m


@pytest.fixture(scope="module")
def dispatch() -> VerilatorBench:
    return VerilatorBench(Dispatch(SPECS[0]))


def accepted(trace: Trace, unit: Unit, ready: np.ndarray) -> list[tuple[int, int]]:
    """Return cycle and tag of each command that a unit took."""
    port = unit.name.lower()
    commands = zip(trace[f"{port}__valid"], trace[f"{port}__payload"], ready, strict=False)
    return [
        (cycle, payload >> 4 & 0xFFF)
        for cycle, (valid, payload, taken) in enumerate(commands)
        if valid and taken
    ]


@pytest.mark.parametrize("stall", [0.0, 0.6, 0.95], ids=["eager", "stalling", "slow"])
def test_with_gates(dispatch: VerilatorBench, stall: float, tmp_path: Path) -> None:
    """Waits, queues and units that are not ready: every handshake as dataflow.cycles has it."""
    spec = SPECS[0]
    rng = np.random.default_rng(int(100 * stall))
    stimulus = Stimulus(spec, rng)
    ready = rng.random((len(UNITS), LONG)) >= stall
    program = random_program(spec, rng, 10 * spec.block_commands)
    start = 3
    stimulus.drive(start, start=1, program=PROGRAM)
    stimulus.drive(start + 1, program=PROGRAM)

    left = np.full((len(UNITS), spec.queue_depth), LONG_AGO)
    sent_to = dict.fromkeys(UNITS, 0)
    taken_at = dict.fromkeys(UNITS, LONG_AGO)

    def take(unit: Unit, dispatched: int, waits_over: int) -> int:
        place = sent_to[unit] % spec.queue_depth
        sent_to[unit] += 1
        cycle = leave(left[unit], place, dispatched, waits_over, taken_at[unit])
        while not ready[unit, cycle]:
            cycle += 1
        taken_at[unit] = cycle
        return cycle

    wanted: dict[Unit, list[tuple[int, int]]] = {unit: [] for unit in UNITS}
    parts = blocks(spec, program)
    wanted[Unit.LOAD].append((take(Unit.LOAD, start + 1, LONG_AGO), 0))
    there = stimulus.block(0, parts[0], start + 4, 0.1)
    read, latest = start + 2, start
    finish = 0
    for number, part in enumerate(parts):
        read = max(read, there + 1)
        for i, command in enumerate(part):
            unit = Unit(command["unit"])
            if unit == Unit.END:
                cycle = read + 1
                while any(
                    stimulus.count(u, start, cycle) < command.get(WAITS[u], 0) for u in UNITS
                ):
                    cycle += 1
                finish = cycle
                break
            sent = max(read + 1, int(left[unit, sent_to[unit] % spec.queue_depth]) + 1)
            over = LONG_AGO
            for u in UNITS:
                cycle = start
                while stimulus.count(u, start, cycle) < command.get(WAITS[u], 0):
                    cycle += 1
                over = max(over, cycle)
            taken = take(unit, sent, over)
            wanted[unit].append((taken, command["tag"]))
            latest = max(latest, taken)
            read = sent + 1
            if i == 0 and number + 1 < len(parts):
                for later in parts[number + 1]:
                    if rng.random() < 0.6:
                        u = UNITS[int(rng.integers(len(UNITS)))]
                        around = latest + int(rng.integers(-50, 150))
                        later[WAITS[u]] = stimulus.count(u, start, max(start, around))
                there = stimulus.block(number + 1, parts[number + 1], sent + 2, 0.1)
    inputs = {name.replace("load__", "beats__"): v for name, v in stimulus.inputs.items()}
    inputs["done_in"] = stimulus.done_words()
    inputs["first_block"] = inputs.pop("program")
    for unit in UNITS:
        inputs[f"{unit.name.lower()}__ready"] = ready[unit].astype(int).tolist()
    cycles = max(finish, latest) + 20
    assert cycles < LONG
    trace = dispatch.run(inputs, cycles=cycles, run_dir=tmp_path)
    for unit in UNITS:
        assert accepted(trace, unit, ready[unit]) == wanted[unit], unit.name
    assert [cycle for cycle, end in enumerate(trace["finish"]) if end] == [finish]
