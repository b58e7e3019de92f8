"""The cycle model of the training machine: exact to the cycle on the standard memory."""

from functools import partial

from moesaic.dataflow.cycles import Timing, run
from moesaic.dataflow.table import make_table
from moesaic.dataflow.training.mapper import TrainProgram
from moesaic.models.training.product_timing import result_latency
from moesaic.models.training.vector_timing import vector_cycles


def predict_step(program: TrainProgram) -> Timing:
    """Return the exact timing of a training program."""
    spec = program.spec
    table = make_table(spec, program.commands, partial(vector_cycles, spec))
    return run(spec, table, program.program_address, 0, result_latency(spec))
