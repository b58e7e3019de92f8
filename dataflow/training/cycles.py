"""The cycle model of the training machine: exact to the cycle on the standard memory."""

from dataclasses import dataclass

from moesaic.dataflow.cycles import LONG_AGO, Timing, needed_waits, run_commands
from moesaic.dataflow.training.mapper import TrainProgram
from moesaic.models.accel import AccelSpec
from moesaic.models.commands import Command
from moesaic.models.training.product_cycles import ProductCycles
from moesaic.models.training.vector_timing import vector_cycles


@dataclass(slots=True)
class TrainingUnits:
    """The units of the training machine."""

    spec: AccelSpec
    products: ProductCycles
    vector_free: int = LONG_AGO

    def skips(self, command: Command) -> bool:
        """No command is skipped."""
        del command
        return False

    def vector(self, command: Command, offer: int) -> tuple[int, int]:
        """Run a pass or a packing."""
        taken = max(offer, self.vector_free)
        free, last = vector_cycles(self.spec, command)
        self.vector_free = taken + free
        return taken, taken + last

    def stationary(self, offer: int, *, skipped: bool) -> int:
        """Take a STATIONARY command."""
        del skipped
        return max(offer, self.products.loader_end)

    def product(
        self,
        loader: Command,
        loader_accept: int,
        stream: Command,
        offer: int,
        *,
        skipped: bool,
    ) -> tuple[int, int, int]:
        """Run the tiles of a product."""
        del skipped
        accept = max(offer, self.products.stream_end)
        loaded, done = self.products.product(loader, loader_accept, stream, accept)
        return accept, loaded, done


def predict_step(program: TrainProgram) -> Timing:
    """Return the exact timing of a training program."""
    spec = program.spec
    units = TrainingUnits(spec, ProductCycles(spec))
    waits = needed_waits(program.commands)
    return run_commands(spec, program.commands, waits, program.program_address, units)
