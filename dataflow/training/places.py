"""Where a step's tensors lie: each in the memory of who writes it, with room while it is used."""

from dataclasses import dataclass, field

from moesaic.dataflow.scoreboard import Span
from moesaic.models.accel import AccelSpec
from moesaic.models.errors import InputError
from moesaic.models.training.memories import Store, shape, slices
from moesaic.models.training.step import Kind, Op, Pack, Pass, Product, Ref, Role, Step, Tensor

NAMES = {
    Store.X: "act_words",
    Store.W: "weight_lines",
    Store.PLACES: "index_lines",
    Store.P: "product_words",
    Store.V: "float_words",
    Store.L: "loaded_words",
    Store.S: "column_words",
    Store.K: "sum_words",
}


class NoRoomError(InputError):
    """A memory has no room for a tensor."""

    def __init__(self, store: Store, text: str) -> None:
        super().__init__(text)
        self.store = store


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """A tensor's room: words ``base .. base + words - 1``, `pitch` words from row to row.

    A column takes a word for each `lanes` rows. Packed weights have `lines` words (and half as
    many of places at `place_base`, where they are compact).
    """

    store: Store
    base: int
    pitch: int
    words: int
    place_base: int = 0
    place_words: int = 0

    @property
    def spans(self) -> tuple[Span, ...]:
        """What the scoreboard takes."""
        own = (self.store.name, self.base, self.base + self.words)
        if not self.place_words:
            return (own,)
        return own, (Store.PLACES.name, self.place_base, self.place_base + self.place_words)


def ceil_div(a: int, b: int) -> int:
    """Divide and round up."""
    return -(-a // b)


def writers(step: Step) -> dict[str, Store]:
    """Return each tensor's memory: whose kind of operation writes it decides."""
    out: dict[str, Store] = {}
    fixed = {Kind.OPERAND: Store.X, Kind.WEIGHTS: Store.W, Kind.COLUMN: Store.S}
    for tensor in step.tensors.values():
        if tensor.kind in fixed:
            out[tensor.name] = fixed[tensor.kind]
        elif tensor.role in (Role.INPUT, Role.STATE):
            out[tensor.name] = Store.L
    for op in step.ops:
        for ref, store in _written(op):
            name = ref.tensor.name
            if ref.tensor.kind == Kind.FLOAT and out.setdefault(name, store) != store:
                raise ValueError(f"{name} is written by two kinds of operations")
    return out


def _written(op: Op) -> list[tuple[Ref, Store]]:
    match op:
        case Product():
            return [(op.out, Store.P)]
        case Pass():
            found = [(op.out, Store.V), (op.row_sum, Store.S), (op.row_max, Store.S)]
            found.append((op.column_sum, Store.K))
            return [(ref, store) for ref, store in found if ref is not None]
        case Pack():
            return [(op.dense_out, Store.V)] if op.dense_out is not None else []
    return []


def written_by(op: Op) -> list[Tensor]:
    """Return the tensors that an operation writes, packed weights apart."""
    return [ref.tensor for ref, _ in _written(op)]


def tensors_of(op: Op) -> list[Tensor]:
    """Return all tensors that an operation reads or writes."""
    out = [ref.tensor for ref, _ in _written(op)]
    match op:
        case Product():
            for term in op.terms:
                out += [term.left.tensor, term.right.tensor]
        case Pass():
            out.append(op.a.tensor)
            out += [o.ref.tensor for o in (op.p, op.q) if o.ref is not None]
        case Pack():
            out.append(op.a.tensor)
            out += [op.out] if op.out is not None else []
    return out


@dataclass(slots=True, kw_only=True)
class Arena:
    """Hands out words of one memory: next fit, so that room is used again as late as possible."""

    depth: int
    live: list[tuple[int, int]] = field(default_factory=list)
    cursor: int = 0
    peak: int = 0

    def take(self, words: int) -> int | None:
        """Return the first of `words` words, None where there is no room."""
        starts = [self.cursor, 0, *(stop for _, stop in self.live)]
        for start in sorted(starts, key=lambda s: (s < self.cursor, s)):
            stop = start + words
            if stop <= self.depth and all(b <= start or stop <= a for a, b in self.live):
                self.live.append((start, stop))
                self.cursor = stop
                self.peak = max(self.peak, sum(b - a for a, b in self.live))
                return start
        return None

    def free(self, start: int, words: int) -> None:
        """Give words back."""
        self.live.remove((start, start + words))


@dataclass(slots=True, kw_only=True)
class Places:
    """Rooms of a step's tensors as its operations go by."""

    spec: AccelSpec
    stores: dict[str, Store]
    arenas: dict[Store, Arena] = field(init=False)
    now: dict[str, Place] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.arenas = {s: Arena(depth=shape(self.spec, s).depth) for s in NAMES}

    def put(self, tensor: Tensor) -> Place:
        """Give a tensor room; InputError names the memory that is too small."""
        store = self.stores[tensor.name]
        pitch, words = self.size(tensor, store)
        base = self._take(tensor, store, words)
        place_base = place_words = 0
        if tensor.nm is not None:
            place_words = ceil_div(words, 2)
            try:
                place_base = self._take(tensor, Store.PLACES, place_words)
            except NoRoomError:
                self.arenas[store].free(base, words)
                raise
        place = Place(
            store=store,
            base=base,
            pitch=pitch,
            words=words,
            place_base=place_base,
            place_words=place_words,
        )
        self.now[tensor.name] = place
        return place

    def drop(self, tensor: Tensor) -> None:
        """Free a tensor's room."""
        place = self.now.pop(tensor.name)
        self.arenas[place.store].free(place.base, place.words)
        if place.place_words:
            self.arenas[Store.PLACES].free(place.place_base, place.place_words)

    def span(self, ref: Ref) -> Span:
        """Return the words from the first to the last of a part."""
        place = self.now[ref.tensor.name]
        if place.store in (Store.S, Store.W):
            return place.spans[0]
        start = place.base + ref.row * place.pitch
        if ref.pixels is not None:
            return place.store.name, start, start + ref.images * ref.pixels.area * place.pitch
        stop = place.base + (ref.row + (ref.rows - 1) * ref.step + 1) * place.pitch
        return place.store.name, start, stop

    def size(self, tensor: Tensor, store: Store) -> tuple[int, int]:
        """Return a row's words and all words."""
        spec = self.spec
        match store:
            case Store.X:
                pitch = ceil_div(tensor.channels, spec.act_word)
            case Store.S:
                return 1, ceil_div(tensor.rows, spec.lanes)
            case Store.W:
                return 0, self.weight_words(tensor)
            case _:
                pitch = ceil_div(tensor.channels, spec.lanes)
        return pitch, pitch * tensor.rows

    def weight_words(self, tensor: Tensor) -> int:
        """Return the words of a packed matrix: a column's lines in words, all columns of a tile."""
        spec = self.spec
        along = ceil_div(tensor.channels, spec.operands_per_word(tensor.nm))
        return ceil_div(tensor.rows, spec.columns) * along * spec.columns

    def _take(self, tensor: Tensor, store: Store, words: int) -> int:
        base = self.arenas[store].take(words)
        if base is None:
            arena = self.arenas[store]
            used = sum(stop - start for start, stop in arena.live)
            least = f"at least {used + words}" if used + words > arena.depth else "larger"
            raise NoRoomError(
                store,
                f"{NAMES[store]} must be {least} for {tensor.name} ({words} words in a row beside "
                f"{used} in use), not {arena.depth}",
            )
        return base


SLICES = slices
