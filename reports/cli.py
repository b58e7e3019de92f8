"""The command line: `moesaic COMMAND ...`. Heavy imports wait until a command needs them."""

import os
import shlex
import sys
import warnings
from _thread import interrupt_main
from collections.abc import Sequence
from importlib import import_module
from threading import Timer
from typing import Any

from moesaic.models.errors import InputError
from moesaic.reports.arguments import Parser

COMMANDS = {
    "list": "models, accelerator presets, recipes and sweeps that ship",
    "run": "quantise, map and predict a model; simulate it in RTL and compare",
    "map": "search the mapping of a model onto an accelerator; YAML that `run --mapping` takes",
    "step": "one training step, dense or sparse; predict it, simulate it in RTL and compare",
    "import": "make an ONNX or torch.export model a MODEL",
    "train": "train a reference model by a recipe",
    "verilog": "write an accelerator's Verilog, register map and scripts",
    "hls": "write a unit or an encoder block as C++ for high-level synthesis",
    "synth": "resources of an accelerator on a target",
    "ablate": "what each technique of the accelerator gains, one left out at a time",
    "sweep": "search a space of accelerators; confirm the best of them on RTL",
    "report": "build the HTML report of a run",
}
DONE, DIFFERENT, BAD_INPUT, INTERRUPTED = 0, 1, 2, 130


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code: 0 done and equal, 1 different, 2 bad input."""
    words = sys.argv[1:] if arguments is None else list(arguments)
    if arguments is None:
        own_process()
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")  # names of files need not be text
    try:
        code = _dispatch(words)
        sys.stdout.flush()
    except InputError as error:
        return _refuse(str(error), BAD_INPUT)
    except KeyboardInterrupt:
        return _refuse("interrupted", INTERRUPTED)
    except MemoryError:
        return _refuse("not enough memory for this model, batch or accelerator", BAD_INPUT)
    except BrokenPipeError:
        # The reader has gone; keep the interpreter from flushing to it once more.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return DONE
    except RuntimeError as error:
        failure = _tool_failure(error)
        if failure is None:
            raise
        lines = str(error).splitlines()
        return _refuse(" ... ".join(dict.fromkeys([lines[0], lines[-1]])), failure)
    return code


def own_process() -> None:
    """Set up a process that is ours alone: no Python warnings, no Ctrl-C that gets lost."""
    if not sys.warnoptions:
        warnings.simplefilter("ignore")  # what matters is said in one line
    sys.unraisablehook = _again


def _again(lost: "sys.UnraisableHookArgs") -> None:
    """Interrupt once more where Python drops exceptions, as it does inside ``__del__``."""
    if issubclass(lost.exc_type, KeyboardInterrupt):
        Timer(0.01, interrupt_main).start()  # not here, where it would be dropped too
    else:
        sys.__unraisablehook__(lost)


def _dispatch(words: Sequence[str]) -> int:
    parser = Parser(
        prog="moesaic",
        description="Co-design of sparse vision transformers and their accelerator.",
        epilog="Exit codes: 0 done and equal, 1 a comparison failed, 2 bad input.",
    )
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)
    for name, text in COMMANDS.items():
        command = commands.add_parser(name, help=text, description=f"{text[0].upper()}{text[1:]}.")
        if words[:1] == [name]:
            _module(name).add_arguments(command)
    options = parser.parse_args(words)
    options.line = shlex.join(["moesaic", *words])
    code: int = _module(options.command).execute(options)
    return code


def _module(name: str) -> Any:
    return import_module(f"moesaic.reports.commands.{name}_command")


def _refuse(line: str, code: int) -> int:
    sys.stdout.flush()
    plain = "".join(c if c.isprintable() else " " for c in line)
    print(f"moesaic: {' '.join(plain.split())}", file=sys.stderr)
    return code


def _tool_failure(error: RuntimeError) -> int | None:
    """Return the exit code of a tool that is missing or fails; None for anything else."""
    from moesaic.sim.build import BuildError
    from moesaic.sim.run import SimulationError
    from moesaic.sim.sweep.workers import WorkersError
    from moesaic.sim.system import HangError
    from moesaic.sim.toolchain import ToolError

    if isinstance(error, ToolError):
        return BAD_INPUT
    failures = BuildError | SimulationError | HangError | WorkersError
    return DIFFERENT if isinstance(error, failures) else None


if __name__ == "__main__":
    sys.exit(main())
