"""Hand-over of tiles from the stationary loader to the stream unit, in closed form."""

from typing import NamedTuple


class HandOver(NamedTuple):
    """Cycles in which a product's last tile is taken, its last line and its last beat issued."""

    taken: int
    loader_end: int
    stream_end: int


def hand_over(
    *, taken: int, load_accept: int, stream_accept: int, lines: int, beats: int, tiles: int
) -> HandOver:
    """Run the tiles of one product.

    Parameters
    ----------
    taken : int
        Cycle in which the stream unit took the last tile of the product before.
    load_accept, stream_accept : int
        Cycles in which both units took their commands.
    lines, beats, tiles : int
        Lines and beats of a tile; tiles of the product.
    """
    loaded = max(load_accept + 1, taken + 1) + lines  # `full` is seen
    first = max(loaded, stream_accept + 1)
    period = max(beats, lines + 1)
    last = first + (tiles - 1) * period
    return HandOver(
        taken=last,
        loader_end=(loaded if tiles == 1 else last - period + 1 + lines) - 1,
        stream_end=last + beats - 1,
    )
