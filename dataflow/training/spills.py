"""Which tensors wait in memory while those at work need their room on chip."""

from bisect import bisect_right
from dataclasses import dataclass, field

from moesaic.dataflow.training.places import Places, tensors_of, written_by
from moesaic.models.training.memories import Store
from moesaic.models.training.step import Op, Role, Step, Tensor

NEVER = 1 << 60
MEMORIES = {Store.PLACES: Store.W}


@dataclass(slots=True)
class Uses:
    """The operations that know each tensor, by number, and the last that writes it."""

    step: Step
    all: dict[str, list[int]] = field(default_factory=dict)
    last_write: dict[str, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for number, op in enumerate(self.step.ops):
            for tensor in tensors_of(op):
                uses = self.all.setdefault(tensor.name, [])
                if not uses or uses[-1] != number:
                    uses.append(number)
            for tensor in written_by(op):
                self.last_write[tensor.name] = number

    def first(self, tensor: Tensor) -> int:
        """Return the first operation that knows a tensor."""
        return self.all[tensor.name][0]

    def last(self, tensor: Tensor) -> int:
        """Return the last one."""
        return self.all[tensor.name][-1]

    def after(self, tensor: Tensor, number: int) -> int:
        """Return the next one behind `number`."""
        uses = self.all[tensor.name]
        place = bisect_right(uses, number)
        return uses[place] if place < len(uses) else NEVER

    def victim(
        self, places: Places, store: Store, op: Op, number: int, until: int
    ) -> Tensor | None:
        """Return what is wanted last of a memory, later than operation `until`; None if nothing is.

        A float that is written again must stay: it would come back to another memory.
        """
        store = MEMORIES.get(store, store)
        at_work = {tensor.name for tensor in tensors_of(op)}
        found: list[tuple[int, Tensor]] = []
        for name, place in places.now.items():
            tensor = self.step.tensors[name]
            if place.store != store or name in at_work or tensor.role == Role.NEXT:
                continue
            unborn = tensor.role == Role.INNER and self.first(tensor) >= number
            unfinished = store == Store.V and self.last_write[name] >= number
            then = self.after(tensor, number)
            if store in (Store.X, Store.V, Store.W, Store.L) and not (unborn or unfinished):
                found.append((then, tensor))
        if not found:
            return None
        then, last = max(found, key=lambda each: each[0])
        return last if then > until else None
