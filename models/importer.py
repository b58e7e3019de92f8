"""Read an outside model, ONNX or torch.export, as a float network."""

import zipfile
import zlib
from pathlib import Path

from moesaic.models.errors import InputError
from moesaic.models.importing.convert import network_of
from moesaic.models.importing.program import Program
from moesaic.models.network import Network

FILE_LIMIT = 1 << 30
_ZIP = b"PK\x03\x04"


def import_model(path: str | Path) -> Network:
    """Return the network of an ONNX model (opset 13 to 23) or a torch.export program (.pt2).

    The content decides which it is, not the name. Nothing in the file is run: no pickle is opened
    and no expression evaluated. Raises InputError, one line that begins with the file's name, for
    whatever is not an encoder of patches or tokens; unsupported operators are all named in it.
    """
    path = Path(path)
    try:
        size = path.stat().st_size
        if size > FILE_LIMIT:
            raise InputError(f"must have at most {FILE_LIMIT} bytes, not {size}")
        name = "".join(c if c.isalnum() or c in "-_" else "-" for c in path.stem)[:64]
        return network_of(_read(path), name or "imported")
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {error.strerror or error}") from error
    except (ValueError, MemoryError, RecursionError) as error:
        raise InputError(f"{path}: {' '.join(str(error).split())}") from error
    except (zipfile.BadZipFile, zlib.error, EOFError, RuntimeError) as error:
        raise InputError(f"{path}: is damaged or truncated: {type(error).__name__}") from error


def _read(path: Path) -> Program:
    """Read by the kind of file that the first bytes tell."""
    with path.open("rb") as file:
        head = file.read(4)
    if head == _ZIP:
        from moesaic.models.importing.pt2_file import read_pt2

        return read_pt2(path)
    from moesaic.models.importing.onnx_file import read_onnx

    return read_onnx(path)
