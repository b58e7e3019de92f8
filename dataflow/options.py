"""Choices of a mapping that do not change any result: each can be measured against the other."""

from dataclasses import dataclass
from itertools import pairwise

from moesaic.dataflow.choices import LayerChoice
from moesaic.models.errors import InputError

ATTENTION = ("shared", "plain")
EXPERTS = ("by-expert", "by-token")
BATCH = ("auto", "layers", "images")
IMAGES_LIMIT, LAG_LIMIT = 64, 64
LAG = 2  # so that no step is held up
NOTHING = LayerChoice()


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
    images : int
        Images of a group that goes by layers, a divisor of the batch; 0: as `batch` says.
    lag : int
        Steps that stay ahead of a fetch that waits for their place in a ring.
    layers : tuple of (str, LayerChoice)
        Choices of single layers, which go before the others; sorted by name.
    """

    attention: str = "shared"
    experts: str = "by-expert"
    batch: str = "auto"
    images: int = 0
    lag: int = LAG
    layers: tuple[tuple[str, LayerChoice], ...] = ()

    def __post_init__(self) -> None:
        for name, allowed in (("attention", ATTENTION), ("experts", EXPERTS), ("batch", BATCH)):
            value = getattr(self, name)
            if value not in allowed:
                raise InputError(f"{name} must be one of {', '.join(allowed)}, not {value!r:.40}")
        for name, most in (("images", IMAGES_LIMIT), ("lag", LAG_LIMIT)):
            value = getattr(self, name)
            if type(value) is not int or not 0 <= value <= most:
                raise InputError(f"{name} must be an integer in 0..{most}, not {value!r:.40}")
        if self.images and (self.batch, self.experts) != ("auto", "by-expert"):
            raise InputError(
                f"images must be 0 unless batch is auto and experts by-expert, not {self.images}"
            )
        ordered = sorted((entry for entry in self.layers if entry[1] != NOTHING), key=_name)
        for (name, _), (other, _) in pairwise(ordered):
            if name == other:
                raise InputError(f"layers: {name} is there twice")
        object.__setattr__(self, "layers", tuple(ordered))


def _name(entry: tuple[str, LayerChoice]) -> str:
    return entry[0]


STANDARD = MapOptions()
