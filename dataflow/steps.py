"""Steps: what the mapper wants done, in order, before addresses of streamed data are known."""

from dataclasses import dataclass, field

from moesaic.dataflow.packing import Data
from moesaic.dataflow.scoreboard import Span
from moesaic.models.commands import Buffer, Unit


@dataclass(slots=True, kw_only=True)
class Fetch:
    """Data that a step needs on chip, streamed through a ring (or copied to a fixed place).

    `lines` words of `buffer`; the address goes into `field` of the step's command number `command`,
    divided by `unit_words`. With `base` the place is fixed. With `expert` it is not fetched before
    the routing is known.
    """

    buffer: Buffer
    lines: int
    data: Data | None = None
    address: int | None = None  # given: data that the host puts there, such as the input
    command: int = 0
    field: str = ""
    scale: int = 1  # field value per word of the ring
    base: int | None = None
    rows: int = 1
    row_beats: int = 0
    line_pitch: int = 0
    expert: int = 0  # 1 + expert: skipped where it has no tokens
    place: int = 0  # 1 + a place of its queues: skipped where no token is there
    behind: int = 0  # steps from that of the routing to this one


@dataclass(slots=True, kw_only=True)
class Work:
    """One command: its unit, fields, the words that it reads and writes, and the ports it uses."""

    unit: Unit
    fields: dict[str, int]
    reads: tuple[Span, ...] = ()
    writes: tuple[Span, ...] = ()
    ports: tuple[str, ...] = ()


@dataclass(slots=True, kw_only=True)
class Step:
    """Commands that belong together (a product is STATIONARY and STREAM), and what they fetch.

    `node` is the graph's node, `part` its head or its first tile, `row` its first row of tokens;
    `macs` what the array executes. `image` is the image that it works on, the first of `images`
    where it works on all of a batch at once. `ahead` is how many steps before this one its data is
    fetched at the earliest, 0: as the rings allow.
    """

    node: str
    part: int = 0
    row: int = 0
    image: int = 0
    images: int = 1
    works: list[Work]
    fetches: list[Fetch] = field(default_factory=list)
    macs: int = 0
    ahead: int = 0
