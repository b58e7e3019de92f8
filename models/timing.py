"""Cycle constants of the units: RTL and cycle model read them from here."""

STORE_READ_LATENCY = 3
"""Cycles from a read of the store unit to its data, through the scratchpads' port."""

LOAD_FIRST_ADDRESS = 1
"""Cycles from a LOAD command's handshake to its first burst's, at the earliest."""

LOAD_WRITE = 1
"""Cycles from a beat's handshake to its write, and to ``done`` for a command's last."""

STORE_FIRST_ISSUE = 1
"""Cycles from a STORE command's handshake to the issue of its first burst, at the earliest."""

STORE_FIRST_BEAT = STORE_READ_LATENCY + 2
"""Cycles from the issue of a burst to its first beat's handshake."""

STORE_DONE = 1
"""Cycles from a STORE command's last response to ``done``."""
