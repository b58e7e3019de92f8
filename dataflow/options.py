"""Choices of a mapping that do not change any result: each can be measured against the other."""

from dataclasses import dataclass

from moesaic.models.errors import InputError

ATTENTION = ("shared", "plain")
EXPERTS = ("by-expert", "by-token")
BATCH = ("auto", "layers", "images")


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
    experts : str
        ``by-expert``: an expert's weights are loaded once and serve all tokens of its queue.
        ``by-token``: they are loaded again for every token that goes to it.
    batch : str
        ``layers``: each layer of all images in turn, so that weights are loaded once for a batch,
        those of experts always. ``images``: one image after another, which needs no more room than
        one alone. ``auto``: by layers, in the largest equal groups of images that find room.
    """

    attention: str = "shared"
    experts: str = "by-expert"
    batch: str = "auto"

    def __post_init__(self) -> None:
        for name, allowed in (("attention", ATTENTION), ("experts", EXPERTS), ("batch", BATCH)):
            value = getattr(self, name)
            if value not in allowed:
                raise InputError(f"{name} must be one of {', '.join(allowed)}, not {value!r:.40}")


STANDARD = MapOptions()
