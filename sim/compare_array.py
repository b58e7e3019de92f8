"""Compares what the array wrote: places, banks and values of every result."""

from dataclasses import dataclass, field

import numpy as np

from moesaic.dataflow.program import Note, Program
from moesaic.models.commands import Buffer, Command, Epilogue, Unit
from moesaic.models.geometry import narrow_word
from moesaic.models.graph import Ints, Mix, Product, Route, Scores
from moesaic.models.routing import Routing, route
from moesaic.sim.comparison import WIDE, Comparison, nothing_more
from moesaic.sim.system import RunLog


@dataclass(slots=True)
class Tokens:
    """Which token of its tensor each bank of each row of a command holds; -1 where none.

    Tokens of a command that works on several images are counted through from the first one.
    """

    program: Program
    tensors: list[dict[str, Ints]]
    routings: dict[tuple[str, int], Routing] = field(default_factory=dict)

    def routing(self, name: str, image: int) -> Routing:
        """Return the routing of a Route of one image."""
        if (name, image) not in self.routings:
            node = self.program.graph[name]
            assert isinstance(node, Route)
            self.routings[name, image] = route(
                self.tensors[image][node.x],
                top=node.top,
                lanes=self.program.spec.lanes,
                data_bits=self.program.graph.data_bits,
            )
        return self.routings[name, image]

    def of(self, command: Command, note: Note) -> Ints:
        """Return tokens as (rows, banks)."""
        banks = self.program.spec.tokens_per_beat
        expert = command.get("expert", 0)
        if not expert:
            tokens = np.arange(command["beats"] * banks).reshape(-1, banks)
            count = tokens.size - command.get("odd", 0) * (banks - 1)
            return np.where(tokens < count, note.row * banks + tokens, -1)
        node = self.program.graph[note.node]
        assert isinstance(node, Product)
        queues: list[list[int]] = [[] for _ in range(banks)]
        for i in range(note.images):
            routing = self.routing(str(node.route), note.image + i)
            for bank, queue in enumerate(queues):
                rows, _ = routing.bank_queue(expert - 1, bank, banks)
                queue.extend(i * node.tokens + rows * banks + bank)
        tokens = np.full((max(map(len, queues)), banks), -1, dtype=np.int64)
        for bank, queue in enumerate(queues):
            tokens[: len(queue), bank] = queue
        place = command.get("place", 0)
        if not place:
            return tokens
        row, bank = divmod(place - 1, banks)
        one = tokens[row : row + 1]
        alone = np.where(np.arange(banks) == bank, one, -1)
        return alone[(alone >= 0).any(axis=1)]


def compare_array(program: Program, log: RunLog, tokens: Tokens, out: Comparison) -> None:
    """Compare all results of STREAM commands, in order."""
    spec, at, tensors = program.spec, 0, tokens.tensors
    banks, columns = spec.tokens_per_beat, spec.columns
    for command, note in program.of_unit(Unit.STREAM):
        name, part, image = note.node, note.part, note.image
        mine = tensors[image : image + note.images]
        there = tokens.of(command, note)
        n_tiles, rows = command["n_tiles"], len(there)
        records = log.array[at : at + n_tiles * rows].reshape(-1)
        at += n_tiles * rows
        check = out.layer(name)
        if len(records) != n_tiles * rows:
            check.add(np.array([len(records)]), np.array([n_tiles * rows]), "number of results")
            continue
        if not rows and len(tokens.of({**command, "place": 0}, note)):
            continue  # no token at this place, but at others
        if not rows:  # an expert without tokens: what was there must be what the model has
            node = program.graph[name]
            assert isinstance(node, Product)
            expected = _of_all(mine, name)
            before = _of_all(mine, node.residual) if node.residual else np.zeros_like(expected)
            check.add(before, expected, f"nothing written for image {image}, values")
            continue
        results = records.reshape(n_tiles, rows)
        dest = Buffer(command["dest"])
        word = narrow_word(spec, dest)
        position = command["dest_position"] + columns * np.arange(n_tiles)[:, None]
        slices = np.broadcast_to(position % word // columns, results.shape)
        enables = ((there >= 0) << np.arange(banks)).sum(axis=1)
        check.add(results["dest"], np.full_like(results["dest"], dest), "destination")
        check.add(results["slice"].astype(np.int64), slices, "slice")
        valid = results["valid"].astype(np.int64)
        check.add(valid, np.broadcast_to(enables, valid.shape), "banks")
        scattered = command.get("epilogue", 0) == Epilogue.WEIGH
        lines = np.arange(rows)[:, None] + 0 * there
        if scattered:
            count = program.graph[name].tokens
            lines = there // count * -(-count // banks) + there % count // banks
        words = command["dest_base"] + position[..., None] // word + command["dest_pitch"] * lines
        for bank, key in enumerate(("word", "word1")[:banks]):
            used = there[:, bank] >= 0
            seen = results[key][:, used].astype(np.int64)
            check.add(seen, words[:, used, bank], f"address in bank {bank}")

        values = results["wide" if dest in WIDE else "narrow"].astype(np.int64)
        matrix = values.transpose(1, 2, 0, 3)[there >= 0].reshape(-1, n_tiles * columns)
        node, first = program.graph[name], command["dest_position"]
        expected = _of_all(mine, name)
        if isinstance(node, Scores):
            expected = expected[part]
            places = np.arange(expected.shape[1])
        else:
            channels = program.channels[name][: expected.shape[1]]
            these = np.flatnonzero((channels >= first) & (channels < first + n_tiles * columns))
            if isinstance(node, Mix):
                head = part * node.head_channels
                these = np.arange(head, head + node.head_channels)
            expected, places = expected[:, these], channels[these] - first
        wanted = expected[there[there >= 0]]
        check.add(matrix[:, places], wanted, f"part {part} of image {image}")
    nothing_more(log.array[at:], program, out)


def _of_all(tensors: list[dict[str, Ints]], name: str) -> Ints:
    """Return a tensor of some images, one under the other."""
    return np.concatenate([values[name] for values in tensors])
