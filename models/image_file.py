"""Images from a .npy file that may be hostile or damaged."""

from math import prod
from pathlib import Path
from tokenize import TokenError
from typing import Any

import numpy as np
from numpy.typing import NDArray

from moesaic.models.errors import InputError

FILE_LIMIT = 1 << 30
KINDS = ("uint8", "float16", "float32", "float64")


def read_images(path: str | Path) -> NDArray[Any]:
    """Return the uint8 or float32 array of a .npy file; no pickle is opened, no size believed.

    Raises InputError, one line that begins with the file's name, unless it is a whole array of
    uint8 or floats with at least one image, all of them finite.
    """
    path = Path(path)
    try:
        size = path.stat().st_size
        if size > FILE_LIMIT:
            raise InputError(f"must have at most {FILE_LIMIT} bytes, not {size}")
        images = _read(path)
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {error.strerror or error}") from error
    except (ValueError, MemoryError, RecursionError, SyntaxError, TokenError) as error:
        raise InputError(f"{path}: {' '.join(str(error).split())}") from error
    if images.dtype == np.uint8:
        return images
    with np.errstate(over="ignore"):
        images = images.astype(np.float32)
    if not np.isfinite(images).all():
        raise InputError(f"{path}: images must be finite float32, but hold NaN or infinity")
    return images


def _read(path: Path) -> NDArray[Any]:
    """Read the header, and the values only after they have been found to be there."""
    with path.open("rb") as file:
        if file.read(6) != b"\x93NUMPY":
            raise InputError("must be an array of numpy's .npy format")
        file.seek(0)
        version = np.lib.format.read_magic(file)
        if version not in ((1, 0), (2, 0)):
            raise InputError(f"must be of .npy format 1.0 or 2.0, not {version}")
        first = version == (1, 0)
        header = (
            np.lib.format.read_array_header_1_0 if first else (np.lib.format.read_array_header_2_0)
        )
        shape, fortran, dtype = header(file)
        if dtype.name not in KINDS:
            raise InputError(f"dtype must be one of {', '.join(KINDS)}, not {dtype!s:.40}")
        if not shape or min(shape) < 1:
            raise InputError(f"shape must have at least one image, not be {shape}")
        content = file.read()
    if dtype.itemsize * prod(shape) != len(content):
        raise InputError(f"must hold {dtype} of shape {shape}, but is truncated or longer")
    return np.frombuffer(content, dtype).reshape(shape, order="F" if fortran else "C")
