"""The forms that GELU can have on an accelerator, by name."""

from collections.abc import Callable

from moesaic.models.errors import InputError
from moesaic.models.gelu import Ints, gelu
from moesaic.models.gelu_polynomial import gelu_polynomial

GELU_FORMS: dict[str, Callable[[Ints, int], Ints]] = {
    "table": gelu,
    "polynomial": gelu_polynomial,
}
"""Each takes wide codes and wide_bits, and gives ``output_bits(wide_bits)`` signed bits."""


def check_gelu(form: object) -> None:
    """Raise InputError unless `form` is the name of one."""
    if form not in tuple(GELU_FORMS):
        raise InputError(f"gelu must be one of {', '.join(GELU_FORMS)}, not {form!r:.60}")
