"""Cycles of the products of the machine for training: STATIONARY and STREAM commands in pairs."""

from dataclasses import dataclass

from moesaic.models.accel import AccelSpec
from moesaic.models.commands import Command
from moesaic.models.hand_over import hand_over
from moesaic.models.training.product_timing import result_latency

LONG_AGO = -(1 << 62)


@dataclass(slots=True)
class ProductCycles:
    """Both units' state between products.

    A tile takes ``max(beats, lines + 1)`` cycles, which are at least ``ACCUMULATE_GAP``: the
    machine has that many lines in a tile (``models.numbers.FEWEST``).

    Parameters
    ----------
    spec : AccelSpec
    taken : int
        When the last tile's weights were taken by the stream unit.
    loader_end, stream_end : int
        When the last line and the last beat were issued: the next commands are taken then, at the
        earliest.
    """

    spec: AccelSpec
    taken: int = LONG_AGO
    loader_end: int = LONG_AGO
    stream_end: int = LONG_AGO

    def product(
        self, load: Command, load_accept: int, stream: Command, stream_accept: int
    ) -> tuple[int, int]:
        """Run a product whose commands are taken then; return when both units are done."""
        self.taken, self.loader_end, self.stream_end = hand_over(
            taken=self.taken,
            load_accept=load_accept,
            stream_accept=stream_accept,
            lines=self.spec.rows if load.get("row_mode") else self.spec.columns,
            beats=stream["beats"],
            tiles=stream["n_tiles"] * stream["k_tiles"],
        )
        return self.loader_end, self.stream_end + result_latency(self.spec)
