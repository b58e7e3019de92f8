"""Choices of a mapping that do not change any result: each can be measured against the other."""

from dataclasses import dataclass

from moesaic.models.errors import InputError

ATTENTION = ("shared", "plain")


@dataclass(frozen=True, slots=True, kw_only=True)
class MapOptions:
    """How a network is mapped.

    Parameters
    ----------
    attention : str
        ``shared``: a tile of keys (or values) stays in the array while all queries pass, so that a
        cycle takes one row of queries and, beside it, one key for the next tile, however many
        columns there are: what Edge-MoE's reordering is for (arXiv 2305.18691, section on attention
        patch reordering). ``plain``: row after row of queries, each of which needs all keys again.
    """

    attention: str = "shared"

    def __post_init__(self) -> None:
        if self.attention not in ATTENTION:
            raise InputError(
                f"attention must be one of {', '.join(ATTENTION)}, not {self.attention!r:.40}"
            )


STANDARD = MapOptions()
