"""Machines by the hundred: what a network costs on each, exact to the cycle, without its bytes.

A mapping depends on some parameters of a machine only; it is kept, and serves all machines that
differ in the others, such as the memory's latency and rate.
"""

import gc
from collections import OrderedDict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from moesaic.dataflow.account import Floor, executed_macs, floor_of, layer_bytes, layer_cycles
from moesaic.dataflow.cycles import Timing, integer_table, run_integers
from moesaic.dataflow.mapper import map_graph
from moesaic.dataflow.options import STANDARD, MapOptions
from moesaic.dataflow.outline import Outline, outline
from moesaic.dataflow.queues import Routing, lengths_after, routes
from moesaic.dataflow.table import Queues, Table
from moesaic.models.accel import AccelSpec
from moesaic.models.errors import InputError
from moesaic.models.execute import execute
from moesaic.models.graph import Graph, Ints, Route

MAPPED = (
    "rows",
    "columns",
    "tokens_per_beat",
    "data_bits",
    "lanes",
    "sparsity",
    "bus_bytes",
    "block_commands",
    "experts",
    "gelu",
    "numbers",
    "psum_depth",
    "weight_lines",
    "index_lines",
    "param_columns",
    "norm_words",
    "input_words",
    "act_words",
    "vec_words",
    "kv_words",
    "score_words",
    "residual_words",
    "rowstat_rows",
)
"""Fields of AccelSpec that a mapping depends on; the others change its timing alone."""

PLANS = 16  # mappings that an evaluator keeps; one of m3vit-tiny takes about 0.6 MB

Key = tuple[object, ...]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Workload:
    """A quantised network, and the input matrices of the images that are run.

    Inputs decide which experts get how many tokens; a network without experts needs none. `name`
    tells it from the evaluator's other workloads.
    """

    name: str = ""
    graph: Graph
    inputs: Sequence[Ints] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Layer:
    """A node's share of cycles, MACs and bytes, over all images of the batch."""

    cycles: int
    macs: int
    bytes_read: int
    bytes_written: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Evaluation:
    """What a run costs: totals of the batch.

    `macs` are those that the array executes, `peak_words` the words in use by scratchpad; `layers`,
    by node, only where they were asked for.
    """

    cycles: int
    macs: int
    floor: Floor
    bytes_read: int
    bytes_written: int
    peak_words: Mapping[str, int]
    layers: Mapping[str, Layer] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class _Plan:
    """What is kept of a mapping, for every machine that it fits: columns, not commands.

    `queues` are those of each workload, by its name, for the networks that share the mapping.
    """

    table: Table
    program_address: int
    macs: int
    peak_words: Mapping[str, int]
    routings: Sequence[Routing]
    queues: dict[str, Queues]


class Evaluator:
    """Evaluate machines; mappings are kept, the last used ones.

    Points that share a mapping should come one after another: sort them by :func:`mapping_key`.
    Networks of one form, such as the tasks of a model, share mappings too.

    Parameters
    ----------
    workloads : sequence of Workload
        Each network in each format, `data_bits` and `gelu`, that machines may have.
    plans : int
        Mappings kept, and refusals.
    """

    def __init__(self, workloads: Sequence[Workload] = (), *, plans: int = PLANS) -> None:
        self._most = plans
        self._plans: OrderedDict[Key, _Plan | InputError] = OrderedDict()
        self._routed: dict[tuple[str, int, str, int, int], dict[str, Ints]] = {}
        self._workloads: dict[tuple[str, int, str], Workload] = {}
        self._outlines: dict[tuple[str, int, str], Outline] = {}
        for workload in workloads:
            self.add(workload)

    def __contains__(self, name: str) -> bool:
        """Whether there is a workload of that name, in any format."""
        return any(known == name for known, _, _ in self._workloads)

    def add(self, workload: Workload) -> None:
        """Take one more workload, of a new name or in a new format."""
        key = (workload.name, workload.graph.data_bits, workload.graph.gelu)
        if key in self._workloads:
            raise ValueError(f"workload {workload.name!r} is there already, in that format")
        self._workloads[key] = workload
        self._outlines[key] = outline(workload.graph)

    def evaluate(
        self,
        spec: AccelSpec,
        options: MapOptions = STANDARD,
        batch: int = 1,
        *,
        name: str = "",
        layers: bool = False,
    ) -> Evaluation:
        """Return what a batch of the workload called `name` costs on a machine.

        Cycles are those of :func:`moesaic.dataflow.cycles.predict`.

        Raises
        ------
        InputError
            If the network does not fit: the line of :func:`moesaic.dataflow.mapper.map_graph`.
        """
        with without_collection():
            return self._evaluate(spec, options, batch, name, layers=layers)

    def _evaluate(
        self, spec: AccelSpec, options: MapOptions, batch: int, name: str, *, layers: bool
    ) -> Evaluation:
        workload = self._workload(name, spec)
        plan = self._plan(workload, spec, options, batch)
        queues = self._queues(plan, workload, spec, batch)
        timing = run_integers(spec, plan.table, plan.program_address, queues)
        return Evaluation(
            cycles=timing.cycles,
            macs=plan.macs,
            floor=floor_of(spec, plan.macs, timing),
            bytes_read=timing.bytes_read,
            bytes_written=timing.bytes_written,
            peak_words=plan.peak_words,
            layers=_layers(workload.graph, spec, options, batch, timing) if layers else None,
        )

    def _workload(self, name: str, spec: AccelSpec) -> Workload:
        """Return the network in the machine's format, or in one that the mapper refuses."""
        key = (name, spec.data_bits, spec.gelu)
        if key in self._workloads:
            return self._workloads[key]
        known = [w for w in self._workloads.values() if w.name == name]
        if not known:
            raise ValueError(f"there is no workload {name!r}")
        return known[0]

    def _plan(self, workload: Workload, spec: AccelSpec, options: MapOptions, batch: int) -> _Plan:
        """Return the mapping that is kept, or a new one; raise the refusal that is kept."""
        graph = workload.graph
        form = self._outlines[workload.name, graph.data_bits, graph.gelu]
        overflow = max(graph.largest_sums.values(), default=0) >> (spec.acc_bits - 1) > 0
        mine = workload.name if overflow else ""  # the refusal names the product
        key = (form, mine, *mapping_key(spec, options, batch))
        if key in self._plans:
            self._plans.move_to_end(key)
        else:
            self._plans[key] = _map(graph, spec, options, batch)
            if len(self._plans) > self._most:
                self._plans.popitem(last=False)
        plan = self._plans[key]
        if isinstance(plan, InputError):
            raise InputError(str(plan))
        return plan

    def _queues(self, plan: _Plan, workload: Workload, spec: AccelSpec, batch: int) -> Queues:
        """Return the queues' lengths; a mapping has one format, so that names tell them apart."""
        name = workload.name
        if name not in plan.queues:
            tensors: list[dict[str, Ints]] = []
            if plan.routings:
                if batch > len(workload.inputs):
                    raise InputError(f"batch must be at most {len(workload.inputs)}, not {batch}")
                tensors = [self._routing(workload, spec, image) for image in range(batch)]
            banks = spec.tokens_per_beat
            plan.queues[name] = lengths_after(plan.routings, banks, tensors)
        return plan.queues[name]

    def _routing(self, workload: Workload, spec: AccelSpec, image: int) -> dict[str, Ints]:
        """Return the routing of an image; the lanes' number is part of the numerics."""
        graph = workload.graph
        key = (workload.name, graph.data_bits, graph.gelu, spec.lanes, image)
        if key not in self._routed:
            tensors = execute(graph, workload.inputs[image], lanes=spec.lanes)
            routes = [node.name for node in graph.nodes if isinstance(node, Route)]
            self._routed[key] = {name: tensors[name] for name in routes}
        return self._routed[key]


def _map(graph: Graph, spec: AccelSpec, options: MapOptions, batch: int) -> _Plan | InputError:
    try:
        program = map_graph(graph, spec, batch=batch, options=options)
    except InputError as error:
        return error
    return _Plan(
        table=integer_table(program),
        program_address=program.program_address,
        macs=sum(executed_macs(program).values()),
        peak_words=program.peak_words,
        routings=routes(program),
        queues={},
    )


@contextmanager
def without_collection() -> Iterator[None]:
    """Keep the garbage collector from looking at a mapping's many objects while they are made.

    Nothing here makes cycles of references; it would only look at all that is kept, again and
    again, which takes a third of the time.
    """
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()


def mapping_key(spec: AccelSpec, options: MapOptions = STANDARD, batch: int = 1) -> Key:
    """Return what a mapping depends on: equal keys, equal commands."""
    return (options, batch, *(getattr(spec, name) for name in MAPPED))


def _layers(
    graph: Graph, spec: AccelSpec, options: MapOptions, batch: int, timing: Timing
) -> dict[str, Layer]:
    """Map once more, for whose command is whose: that is not kept."""
    program = map_graph(graph, spec, batch=batch, options=options)
    cycles = layer_cycles(program, timing.accepted, timing.done, timing.cycles)
    moved, macs = layer_bytes(program, timing), executed_macs(program)
    return {
        name: Layer(
            cycles=spent,
            macs=macs.get(name, 0),
            bytes_read=moved[name][0],
            bytes_written=moved[name][1],
        )
        for name, spent in cycles.items()
    }
