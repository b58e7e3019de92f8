"""What the headers of ``templates/numerics/`` are made of: constants and tables of the models."""

from typing import Any

from moesaic.hls_templates.literals import literal
from moesaic.models import exp2, gelu, inverse, requant, softmax
from moesaic.models.graph import SCORE_FRACTION_BITS
from moesaic.models.matmul import acc_bits

NUMERICS = ("integers", "streams", "requant", "power", "inverse", "row_sums", "gelu_table")
"""All headers, each after those that it includes."""

SOFTMAX = ("integers", "streams", "requant", "power", "inverse", "row_sums")
"""What a header that includes ``row_sums.h`` needs."""


def constants(header: str) -> dict[str, Any]:
    """Return the variables of one of `NUMERICS`."""
    match header:
        case "requant":
            return {
                "multiplier_bits": requant.MULTIPLIER_BITS,
                "shift_bits": requant.SHIFT_BITS,
                "bias_bits": requant.BIAS_BITS,
                "sum_bits": acc_bits(16),
            }
        case "power":
            return {
                "score_fraction_bits": SCORE_FRACTION_BITS,
                "power_fraction_bits": exp2.POWER_FRACTION_BITS,
                "mantissa_bits": exp2.MANTISSA_BITS,
                "row_mantissa_bits": exp2.ROW_MANTISSA_BITS,
                "mantissas": {bits: literal(exp2.mantissas(bits)) for bits in (8, 16)},
                "row_mantissas": literal(exp2.row_mantissas()),
            }
        case "inverse":
            values, falls = inverse.reciprocal_table()
            root_values, root_falls = inverse.root_table()
            return {
                "input_bits": inverse.INPUT_BITS,
                "result_bits": inverse.RESULT_BITS,
                "guard_bits": inverse.GUARD_BITS,
                "segments": inverse.SEGMENTS,
                "segments_log2": inverse.SEGMENTS.bit_length() - 1,
                "fall_bits": int(max(falls.max(), root_falls.max())).bit_length(),
                "reciprocal_values": literal(values),
                "reciprocal_falls": literal(falls),
                "root_values": literal(root_values),
                "root_falls": literal(root_falls),
            }
        case "row_sums":
            return {"max_valid": softmax.MAX_VALID, "largest_shift": softmax.LARGEST_SHIFT}
        case "gelu_table":
            values, slopes = gelu.table()
            return {
                "segments": gelu.SEGMENTS,
                "segments_log2": gelu.SEGMENTS.bit_length() - 1,
                "step_log2": gelu.STEP_LOG2,
                "value_fraction_bits": gelu.VALUE_FRACTION_BITS,
                "slope_bits": gelu.SLOPE_BITS,
                "integer_bits": 16 - gelu.input_fraction(16),
                "values": literal(values),
                "slopes": literal(slopes),
            }
    return {}
