"""A program: commands, the memory image that they work on, and what each command belongs to."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from moesaic.dataflow.packing import Data
from moesaic.dataflow.scratch import Place
from moesaic.models.accel import AccelSpec
from moesaic.models.commands import COMMAND_BYTES, WAITS, Command, Unit, assemble
from moesaic.models.graph import Graph


@dataclass(slots=True, kw_only=True)
class Note:
    """What a command is for: graph node, part (head or first tile; -1 the store), MACs executed.

    `row` is the first row of tokens, where a part is cut into rows; `image` the first image of the
    batch, `images` how many of them the command works on.
    """

    node: str
    part: int = 0
    macs: int = 0
    row: int = 0
    image: int = 0
    images: int = 1


@dataclass(kw_only=True)
class Program:
    """What one run needs.

    `commands` are in order, the block fetches and END among them; `notes` go with them. `unwaited`
    are the same without their wait fields, which stand in `waits`, (commands, 5). `data` lie
    in memory at their addresses; the host writes inputs at `input_addresses` (one per image) and
    finds results at `output_addresses`. `channels` holds, for each node, the position of each
    channel among a token's values.
    """

    spec: AccelSpec
    graph: Graph
    unwaited: list[Command]
    waits: NDArray[np.int64]
    notes: list[Note]
    data: Mapping[Data, int]
    program_address: int
    input_addresses: list[int]
    output_addresses: list[int]
    input_place: Place
    output_place: Place
    channels: dict[str, NDArray[np.int64]] = field(default_factory=dict)
    remarks: list[str] = field(default_factory=list)
    peak_words: dict[str, int] = field(default_factory=dict)

    @cached_property
    def commands(self) -> list[Command]:
        """All commands with their waits, put together when they are first asked for."""
        for command, waits in zip(self.unwaited, self.waits.tolist(), strict=True):
            command.update(zip(WAITS, waits, strict=True))
        return self.unwaited

    @property
    def memory_bytes(self) -> int:
        """Bytes of memory in use: one block more than there is, which is fetched and not run."""
        blocks = -(-len(self.unwaited) // self.spec.block_commands) + 1
        return self.program_address + blocks * self.spec.block_commands * COMMAND_BYTES

    @cached_property
    def image(self) -> NDArray[np.uint8]:
        """The memory from address 0 on, made when it is first asked for."""
        image = np.zeros(self.memory_bytes, dtype=np.uint8)
        for data, address in self.data.items():
            image[address : address + data.size] = data.make()
        commands = assemble(self.commands)
        image[self.program_address : self.program_address + len(commands)] = commands
        return image

    def of_unit(self, unit: Unit) -> list[tuple[Command, Note]]:
        """Return a unit's commands with their notes, in order."""
        return [
            (command, note)
            for command, note in zip(self.unwaited, self.notes, strict=True)
            if command["unit"] == unit
        ]
