"""Exact cycles of the load and store units on the standard memory, in closed form.

One step per burst, in integers. The memory is that of ``sim/axi_memory.sv`` without stalls: a
burst's beats begin `latency` cycles after its address at the earliest, and each channel has a
bucket of credit that gains ``rate`` bytes per cycle up to two beats. Credit is counted in units of
1/denominator byte, so that every rate is exact.
"""

from collections import deque
from collections.abc import Mapping

from moesaic.models.accel import AccelSpec
from moesaic.models.timing import (
    LOAD_FIRST_ADDRESS,
    LOAD_WRITE,
    STORE_DONE,
    STORE_FIRST_BEAT,
    STORE_FIRST_ISSUE,
)

BOUNDARY_BYTES = 4096
LONG_AGO = -(1 << 62)


class _Channel:
    """What both channels keep: the rate's bucket, and the ends of the bursts in flight."""

    def __init__(self, spec: AccelSpec) -> None:
        self.spec = spec
        rate = spec.memory.rate
        self._gain = rate.numerator
        self._price = spec.bus_bytes * rate.denominator
        self._longest = min(spec.burst_beats, BOUNDARY_BYTES // spec.bus_bytes)
        # Credit at the beginning of cycle `_free`, the one after the last beat.
        self._free = 0
        self._credit = 2 * self._price
        self._ends = deque([LONG_AGO] * spec.outstanding, maxlen=spec.outstanding)

    def _bursts(self, command: Mapping[str, int]) -> list[int]:
        """Return the beats of each burst: cut at multiples of the longest burst, piece by piece."""
        bus, longest = self.spec.bus_bytes, self._longest
        address, pitch, row_beats = command["address"], command["row_pitch"], command["row_beats"]
        out: list[int] = []
        for row in range(command["rows"]):
            head = longest - (address + row * pitch) // bus % longest
            if row_beats <= head:
                out.append(row_beats)
                continue
            full, tail = divmod(row_beats - head, longest)
            out.append(head)
            out += [longest] * full
            if tail:
                out.append(tail)
        return out

    def _pass(
        self, command: Mapping[str, int], start: int, *, lead: int, tail: int, hold: bool
    ) -> tuple[int, int]:
        """Pass a command's bursts, the first from cycle `start` on.

        Each begins one cycle after the one before it, or after all its beats with `hold`, and when
        fewer than `outstanding` are in flight. Its beats may leave from `lead` cycles later on, and
        it is over `tail` cycles after the last one. Return when the next burst might begin, and
        when the last one is over.
        """
        gain, price, free, credit = self._gain, self._price, self._free, self._credit
        ends, most, end = self._ends, 2 * self._price, start
        for beats in self._bursts(command):
            if start <= ends[0]:
                start = ends[0] + 1
            first = start + lead
            first = max(first, free)
            span = beats - 1
            if gain < price:
                credit += gain * (first - free)
                if credit > most:
                    credit = most
                elif credit < price:
                    wait = -((credit - price) // gain)
                    first += wait
                    credit += wait * gain
                # Beats leave one a cycle or as the credit comes in, whichever is later.
                credit -= beats * price
                if credit + gain * span < 0:
                    span = -(credit // gain)
                credit += gain * (span + 1)
            free = first + span + 1
            end = first + span + tail
            ends.append(end)
            start += beats if hold else 1
        self._free, self._credit = free, credit
        return start, end


class ReadChannel(_Channel):
    """The load unit with the memory's read channel.

    Commands are given in the order in which they are offered.

    Parameters
    ----------
    spec : AccelSpec
        Gives `bus_bytes`, `outstanding`, `burst_beats`, `queue_depth` and `memory`.

    Attributes
    ----------
    bytes_read : int
        Bytes of all commands so far.
    """

    def __init__(self, spec: AccelSpec) -> None:
        super().__init__(spec)
        self.bytes_read = 0
        self._last_address = LONG_AGO
        self._last_beat = LONG_AGO
        self._last_done = LONG_AGO
        # Cycles in which waiting commands left the queue in front of the data side.
        self._left_queue = deque([LONG_AGO] * spec.queue_depth, maxlen=spec.queue_depth)

    def load(
        self, command: Mapping[str, int], offer_cycle: int, *, skipped: bool = False
    ) -> tuple[int, int]:
        """Run one LOAD command.

        Parameters
        ----------
        command : mapping of str to int
            Fields by name, as :func:`moesaic.models.commands.encode` takes them.
        offer_cycle : int
            First cycle in which the command is valid at the unit's port.
        skipped : bool
            The command is for an expert without tokens and copies nothing.

        Returns
        -------
        tuple of int
            Cycle of the command's handshake, and cycle of its ``done`` pulse: one a cycle.
        """
        accept = max(offer_cycle, self._last_address, self._left_queue[0] + 1)
        if skipped:
            over = max(accept, self._last_beat) + 1  # and counted in the next cycle
            self._last_done = max(over, self._last_done) + 1
            return accept, self._last_done
        self._left_queue.append(max(accept + 1, self._last_beat))
        start = accept + LOAD_FIRST_ADDRESS
        latency = self.spec.memory.latency
        free, last = self._pass(command, start, lead=latency, tail=0, hold=False)
        self._last_address = free - 1
        self._last_beat = last
        self.bytes_read += command["rows"] * command["row_beats"] * self.spec.bus_bytes
        self._last_done = max(last + LOAD_WRITE, self._last_done + 1)
        return accept, self._last_done


class WriteChannel(_Channel):
    """The store unit with the memory's write channel.

    Commands are given in the order in which they are offered.

    Parameters
    ----------
    spec : AccelSpec
        Gives `bus_bytes`, `outstanding`, `burst_beats` and `memory`.

    Attributes
    ----------
    bytes_written : int
        Bytes of all commands so far.
    """

    def __init__(self, spec: AccelSpec) -> None:
        super().__init__(spec)
        self.bytes_written = 0
        self._done = LONG_AGO

    def store(self, command: Mapping[str, int], offer_cycle: int) -> tuple[int, int]:
        """Run one STORE command; parameters and result are those of :meth:`ReadChannel.load`."""
        accept = max(offer_cycle, self._done)
        start = accept + STORE_FIRST_ISSUE
        # A beat is paid for in the cycle after its handshake, or later.
        tail = self.spec.memory.latency - 1
        _, last = self._pass(command, start, lead=STORE_FIRST_BEAT + 1, tail=tail, hold=True)
        self._done = last + STORE_DONE
        self.bytes_written += command["rows"] * command["row_beats"] * self.spec.bus_bytes
        return accept, self._done
