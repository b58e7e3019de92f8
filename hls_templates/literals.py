"""Arrays of integers as C++ initialisers."""

import numpy as np

from moesaic.models.requant import Ints

WIDTH = 96


def literal(values: Ints) -> str:
    """Return ``{1, 2, 3}`` with nested braces for further axes, in lines of at most 100 signs."""
    array = np.asarray(values)
    if array.ndim > 1:
        return "{\n" + ",\n".join(literal(row) for row in array) + "}"
    lines, line = [], ""
    for text in map(str, array.tolist()):
        if line and len(line) + len(text) + 2 > WIDTH:
            lines.append(line + ",")
            line = text
        else:
            line = f"{line}, {text}" if line else text
    return "{" + "\n    ".join([*lines, line]) + "}"
