"""Accelerators for training: what they may be, and who does not take them."""

from dataclasses import replace
from typing import Any

import pytest

from moesaic.models.accel import NM
from moesaic.models.accel_io import load_accel, load_integer_accel
from moesaic.models.errors import InputError

TINY = load_accel("tiny-train")
REFUSED: dict[str, tuple[dict[str, Any], str]] = {
    "numbers": ({"numbers": "fp8"}, "numbers must be one of integer, fp16, bf16, not 'fp8'"),
    "bits": ({"data_bits": 8}, "data_bits must be 16 with numbers fp16, not 8"),
    "experts": ({"experts": 4}, "experts must be 0 with numbers fp16, not 4"),
    "columns": ({"columns": 4}, "columns must be at least 8 with numbers fp16, not 4"),
    "lanes": ({"lanes": 16}, r"columns must be lanes \(16\) with numbers fp16, not 8"),
    "rows": ({"rows": 4, "bus_bytes": 4}, r"rows must be at least 8 .*, not 4"),
    "sparsity": ({"sparsity": (NM(n=4, m=16),)}, r"M of sparsity must be at most lanes \(8\)"),
    "places": ({"index_lines": 64}, "index_lines must be at least weight_lines / 2 = 32768"),
    "products": ({"product_words": 4}, "product_words must be in 8..65536, not 4"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_refusals(case: str) -> None:
    change, message = REFUSED[case]
    with pytest.raises(InputError, match=message):
        replace(TINY, **change)


def test_tokens_share_no_weight() -> None:
    with pytest.raises(InputError, match="tokens_per_beat must be 1"):
        replace(TINY, tokens_per_beat=2)


def test_the_preset_is_refused_where_integers_are_wanted() -> None:
    assert TINY.numbers == "fp16"
    assert load_integer_accel("tiny").numbers == "integer"
    with pytest.raises(InputError, match=r"tiny-train is for training \(fp16\)"):
        load_integer_accel("tiny-train")
