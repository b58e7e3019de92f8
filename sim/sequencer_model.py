"""What the sequencers do, in plain loops: the lines and beats of products, and their cycles.

No counter here resembles one of the hardware's: each place follows from tile, row and column by the
definition of the command's fields.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

from moesaic.models.accel import AccelSpec
from moesaic.models.commands import Buffer, Command, Epilogue
from moesaic.models.geometry import narrow_word

Step = dict[str, int]

LENGTH_PITCH = 16
SOURCES = {Buffer.INPUT: 0, Buffer.ACT: 1, Buffer.VEC: 2}


def tile_lines(spec: AccelSpec, c: Command) -> list[list[Step]]:
    """Return the lines of each tile of a STATIONARY command, addresses among them.

    A line has those of the fields of ``hw.stationary.LINE`` and of the addresses that mean
    something for its kind.
    """
    row_mode, kv = c.get("row_mode", 0), c.get("source_kv", 0)
    places = spec.rows if row_mode else spec.columns
    tiles = []
    for n in range(c["n_tiles"]):
        for k in range(c["k_tiles"]):
            number = n * c["k_tiles"] + k
            last_k = k == c["k_tiles"] - 1
            lines = []
            for place in range(places):
                line: Step = {"place": place, "row_mode": row_mode, "source_kv": kv}
                line["array"] = c.get("array", 0)
                params = last_k and c.get("use_params", 0)
                line["params"] = int(params)
                if params:
                    column = c.get("param_base", 0) + n * spec.columns + place
                    line |= {"param_column": column, "param_sub": column % 256}
                if kv:
                    line |= _kv_line(spec, c, n=n, k=k, place=place)
                else:
                    index = 2 * c.get("index_base", 0) + number * spec.columns + place
                    line |= {
                        "weight_line": c["base"] + number * spec.columns + place,
                        "dense": int(c.get("mode", 0) == 0),
                    }
                    if c.get("mode", 0):
                        line |= {"index_line": index // 2, "index_half": index % 2}
                lines.append(line)
            tiles.append(lines)
    return tiles


def _kv_line(spec: AccelSpec, c: Command, *, n: int, k: int, place: int) -> Step:
    """A token of K goes to a column, its values along the rows; V's the other way round."""
    if c.get("row_mode", 0):
        token, size = k * spec.rows + place, spec.columns
        value = c["position"] + n * spec.columns
    else:
        token, size = n * spec.columns + place, spec.rows
        value = c["position"] + k * spec.rows
    row, bank = divmod(token, spec.tokens_per_beat)
    word, rest = divmod(value, spec.kv_word)
    zero = int(c.get("row_mode", 0) and token >= c["k_valid"])
    return {
        "kv_word": c["base"] + row * c["pitch"] + word,
        "kv_bank": bank,
        "kv_slice": rest // size,
        "zero": zero,
        "dense": 1,
    }


def tile_beats(spec: AccelSpec, c: Command) -> list[list[Step]]:
    """Return the beats of each tile of a STREAM command, with the fields of ``hw.stream.BEAT``.

    A command for an expert has one row for each place of its longest queue; `lengths` of a command
    packs those of the banks, ``LENGTH_PITCH`` bits each. With a `place` it has that row only, and
    `lengths` end there.
    """
    nm = (None, *spec.sparsity)[c.get("mode", 0)]
    tiles = []
    lengths = queue_lengths(c)
    rows = max(lengths) if c.get("expert", 0) else c["beats"]
    start = (c["place"] - 1) // spec.tokens_per_beat if c.get("place", 0) else 0
    if not rows:
        return []
    step = 0 if c.get("gather", 0) else c["pitch"]
    dest_step = 0 if c.get("epilogue", 0) == Epilogue.WEIGH else c["dest_pitch"]
    word_values = narrow_word(spec, Buffer(c["dest"]))
    for n in range(c["n_tiles"]):
        out_word, out_value = divmod(c.get("dest_position", 0) + n * spec.columns, word_values)
        for k in range(c["k_tiles"]):
            value = c.get("position", 0) + k * spec.operands_per_beat(nm)
            word, rest = divmod(value, spec.act_word)
            first, last = k == 0, k == c["k_tiles"] - 1
            tiles.append(
                [
                    {
                        "word": c["base"] + word + (row - start) * step,
                        "word1": c["base"] + word + (row - start) * step,
                        "array": c.get("array", 0),
                        "source": SOURCES[Buffer(c["source"])],
                        "offset": rest // spec.rows,
                        "mode": c.get("mode", 0),
                        "swap": int(row == start),
                        "param_swap": int(row == start and last),
                        "first": int(first),
                        "last": int(last),
                        "done": int(last and n == c["n_tiles"] - 1 and row == rows - 1),
                        "banks": _banks(c, row, rows) & ((1 << spec.tokens_per_beat) - 1),
                        "row": row,
                        "dest": c["dest"],
                        "dest_word": c["dest_base"] + out_word + (row - start) * dest_step,
                        "dest_word1": c["dest_base"] + out_word + (row - start) * dest_step,
                        "dest_slice": out_value // spec.columns,
                        "epilogue": c.get("epilogue", 0),
                        "scale_source": c.get("scale_source", 0),
                        "rowstat_row": c.get("rowstat_base", 0) + row,
                        "post_multiplier": c.get("post_multiplier", 0),
                        "post_shift": c.get("post_shift", 0),
                        "expert": c.get("expert", 0),
                        "gather": c.get("gather", 0),
                        "pitch": c["pitch"],
                        "dest_pitch": c["dest_pitch"],
                        "score0": 0,
                        "score1": 0,
                    }
                    for row in range(start, rows)
                ]
            )
    return tiles


def queue_lengths(c: Command) -> tuple[int, int]:
    """Return the lengths of both banks' queues."""
    lengths = c.get("lengths", 0)
    return lengths % (1 << LENGTH_PITCH), lengths >> LENGTH_PITCH


def is_empty(c: Command) -> bool:
    """Tell whether a command is for an expert without tokens."""
    return bool(c.get("expert", 0)) and not c.get("lengths", 0)


def _banks(c: Command, row: int, rows: int) -> int:
    """Return which banks hold a token in a row."""
    if c.get("expert", 0):
        first, second = queue_lengths(c)
        return int(row < first) | int(row < second) << 1
    return 1 if c.get("odd", 0) and row == rows - 1 else 3


@dataclass(slots=True, kw_only=True)
class Sequenced:
    """What a sequencer does: steps by cycle, and for each command when it is taken and ends.

    `empty` are the cycles of beats of nothing.
    """

    steps: dict[int, Step] = field(default_factory=dict)
    taken: list[int] = field(default_factory=list)
    ends: list[int] = field(default_factory=list)
    empty: list[int] = field(default_factory=list)
    tile_starts: list[int] = field(default_factory=list)
    tile_ends: list[int] = field(default_factory=list)


def load_tiles(
    spec: AccelSpec, commands: Sequence[Command], offered: Sequence[int], waits: Sequence[int]
) -> tuple[Sequenced, list[int]]:
    """Run the stationary loader; tile ``i`` is taken ``waits[i]`` cycles after it is full.

    `offered` is the first cycle of each command at the port. Also returns when tiles are taken.
    """
    out, takes = Sequenced(), [-1]
    free = 0
    for command, offer in zip(commands, offered, strict=True):
        accept = max(offer, free)
        out.taken.append(accept)
        last = accept
        if is_empty(command):
            last += 1
        for lines in [] if is_empty(command) else tile_lines(spec, command):
            first = max(last + 1, takes[-1] + 1)
            last = _add(out, lines, first)
            takes.append(last + 1 + waits[len(out.tile_ends) - 1])
        out.ends.append(last)
        free = last  # the next command is taken beside the last line
    return out, takes[1:]


def stream_tiles(
    spec: AccelSpec, commands: Sequence[Command], offered: Sequence[int], waits: Sequence[int]
) -> tuple[Sequenced, list[int]]:
    """Run the stream sequencer; a tile's weights come ``1 + waits[i]`` cycles after the last take.

    Also returns when the weights of each tile are there.
    """
    out, full = Sequenced(), [waits[0]]
    free = 0
    for command, offer in zip(commands, offered, strict=True):
        accept = max(offer, free)
        out.taken.append(accept)
        last = accept
        if is_empty(command):
            last += 1
            out.empty.append(last)
        for beats in tile_beats(spec, command):
            first = max(last + 1, full[-1])
            last = _add(out, beats, first)
            full.append(first + 1 + waits[len(full) % len(waits)])
        out.ends.append(last)
        free = last
    return out, full[:-1]


def run_products(
    spec: AccelSpec,
    loads: Sequence[Command],
    streams: Sequence[Command],
    *,
    load_offers: Sequence[int],
    stream_offers: Sequence[int],
) -> tuple[Sequenced, Sequenced]:
    """Run both sequencers side by side; each of `streams` goes with the one of `loads`."""
    loader, stream = Sequenced(), Sequenced()
    lines_free = beats_free = 0
    take = -1
    for load, product, load_offer, stream_offer in zip(
        loads, streams, load_offers, stream_offers, strict=True
    ):
        line = max(load_offer, lines_free)
        beat = max(stream_offer, beats_free)
        loader.taken.append(line)
        stream.taken.append(beat)
        for lines, beats in zip(tile_lines(spec, load), tile_beats(spec, product), strict=True):
            line = _add(loader, lines, max(line + 1, take + 1))
            take = max(beat + 1, line + 1)
            beat = _add(stream, beats, take)
        loader.ends.append(line)
        stream.ends.append(beat)
        lines_free, beats_free = line, beat
    return loader, stream


def _add(out: Sequenced, steps: Sequence[Step], first: int) -> int:
    """Enter a tile's steps from cycle `first` on; return the last one's."""
    for i, step in enumerate(steps):
        out.steps[first + i] = step
    out.tile_starts.append(first)
    out.tile_ends.append(first + len(steps) - 1)
    return first + len(steps) - 1
