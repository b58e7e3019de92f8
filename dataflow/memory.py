"""Exact cycles of the load and store units on the standard memory, one command at a time.

The memory is that of ``sim/axi_memory.sv`` without stalls: a burst's beats begin `latency` cycles
after its address at the earliest, and each channel has a bucket of credit that gains ``rate`` bytes
per cycle up to two beats. Credit is counted in units of 1/denominator byte, so that every rate is
exact.
"""

from collections.abc import Mapping

import numpy as np

from moesaic.dataflow.kernel import BOUNDARY_BYTES, Constants, channel, load, store
from moesaic.models.accel import AccelSpec
from moesaic.models.timing import (
    LOAD_FIRST_ADDRESS,
    LOAD_WRITE,
    STORE_DONE,
    STORE_FIRST_BEAT,
    STORE_FIRST_ISSUE,
)


def constants(spec: AccelSpec) -> Constants:
    """Return what the kernel needs of a memory; what belongs to a program and its array is 0."""
    rate = spec.memory.rate
    return Constants(
        queue_depth=spec.queue_depth,
        block_commands=0,
        block_beats=0,
        program_address=0,
        bus_bytes=spec.bus_bytes,
        longest=min(spec.burst_beats, BOUNDARY_BYTES // spec.bus_bytes),
        outstanding=spec.outstanding,
        latency=spec.memory.latency,
        gain=rate.numerator,
        price=spec.bus_bytes * rate.denominator,
        load_first_address=LOAD_FIRST_ADDRESS,
        load_write=LOAD_WRITE,
        store_first_issue=STORE_FIRST_ISSUE,
        store_first_beat=STORE_FIRST_BEAT,
        store_done=STORE_DONE,
        loader_latency=0,
        result_latency=0,
    )


class _Channel:
    """A channel's state between commands, which are given in the order in which they are offered.

    Parameters
    ----------
    spec : AccelSpec
        Gives `bus_bytes`, `outstanding`, `burst_beats`, `queue_depth` and `memory`.
    """

    def __init__(self, spec: AccelSpec) -> None:
        self._constants = constants(spec)
        self._state, self._ends, self._left = channel(self._constants)


class ReadChannel(_Channel):
    """The load unit with the memory's read channel."""

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
        state = (self._state, self._ends, self._left)
        return load(self._constants, *state, _move(command), offer_cycle, skipped)


class WriteChannel(_Channel):
    """The store unit with the memory's write channel."""

    def store(self, command: Mapping[str, int], offer_cycle: int) -> tuple[int, int]:
        """Run one STORE command; parameters and result are those of :meth:`ReadChannel.load`."""
        state = (self._state, self._ends)
        return store(self._constants, *state, _move(command), offer_cycle)


def _move(command: Mapping[str, int]) -> np.ndarray:
    names = ("address", "rows", "row_beats", "row_pitch")
    return np.array([command[name] for name in names], np.int64)
