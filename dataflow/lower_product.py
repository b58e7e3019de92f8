"""Products: with weights from memory, cut into chunks; and with operands that are on chip."""

from collections import Counter
from functools import cached_property

import numpy as np

from moesaic.dataflow.choices import AHEAD, PRODUCT_ORDERS
from moesaic.dataflow.lower_base import LoweringBase
from moesaic.dataflow.packing import ProductData
from moesaic.dataflow.rows import split_product
from moesaic.dataflow.scoreboard import QUEUES
from moesaic.dataflow.scratch import Place, ceil_div, head_channels
from moesaic.dataflow.steps import Fetch, Step, Work
from moesaic.models.accel import NM
from moesaic.models.commands import ARRAYS, Buffer, Epilogue, Unit
from moesaic.models.errors import InputError
from moesaic.models.graph import Mix, Product, Route, Scores
from moesaic.models.graph_macs import node_macs

EPILOGUES = {
    "narrow": Epilogue.NARROW,
    "wide": Epilogue.WIDE,
    "add": Epilogue.ADD,
    "gelu": Epilogue.GELU,
    "weigh": Epilogue.WEIGH,
}
CHUNKS = 4  # a chunk of weights takes at most this part of the ring, so that the next is prefetched


class ProductLowering(LoweringBase):
    """Lower products."""

    def product(self, node: Product) -> None:
        """Lower ``x @ weight + bias`` into chunks of whole output tiles."""
        spec = self.spec
        source = self.places[node.x]
        tokens = self.tokens(node.x)
        dest = self._destination(node, tokens)
        nm = self._mode(node, source)
        inputs, outputs = node.weight.shape
        data = ProductData(
            node=node,
            spec=spec,
            nm=nm,
            inputs=source.channels[:inputs],
            outputs=dest.channels[:outputs],
        )
        self._check_sums(node)
        n_tiles, k_tiles = ceil_div(dest.width, spec.columns), data.k_tiles
        kind = ARRAYS.index("expert" if node.route else "linear")
        routed = {"array": kind, **({"expert": 1 + node.expert} if node.route else {})}
        gather = {"gather": 1} if node.route and source.buffer == Buffer.VEC else {}
        queues = (QUEUES,) if node.route else ()
        per_chunk = self._tiles_per_chunk(node, n_tiles, k_tiles, nm)
        ahead = self.choices.number(node.name, "ahead", 0, range(AHEAD + 1))
        beats = self.rows(tokens)
        rows = beats
        if not node.route:  # an expert's rows are those of its queues
            rows = self.choices.number(node.name, "rows", beats, range(1, beats + 1))
        chunks: list[Step] = []
        macs = node_macs(self.graph, node).dense
        if nm is not None:
            macs = macs * nm.n // nm.m
        mode = spec.mode_number(nm)
        for first in range(0, n_tiles, per_chunk):
            count = min(per_chunk, n_tiles - first)
            condition = self.condition(node, len(self.steps) + len(chunks))
            fetches = [
                Fetch(
                    buffer=Buffer.WEIGHT,
                    lines=count * k_tiles * spec.columns,
                    data=data.weights(first, count),
                    field="base",
                    **condition,
                ),
                Fetch(
                    buffer=Buffer.PARAM,
                    lines=ceil_div(count * spec.columns * 8, max(8, spec.bus_bytes)),
                    data=data.params(first, count),
                    field="param_base",
                    scale=max(8, spec.bus_bytes) // 8,
                    **condition,
                ),
            ]
            if nm is not None:
                fetches.append(
                    Fetch(
                        buffer=Buffer.INDEX,
                        lines=count * k_tiles * spec.columns // 2,
                        data=data.indices(first, count),
                        field="index_base",
                        **condition,
                    )
                )
            stationary = Work(
                unit=Unit.STATIONARY,
                fields={
                    "mode": mode,
                    "n_tiles": count,
                    "k_tiles": k_tiles,
                    "use_params": 1,
                    **routed,
                },
                reads=queues,
            )
            stream = self._stream(
                source,
                dest,
                tokens=tokens,
                rows=rows,
                n_tiles=count,
                k_tiles=k_tiles,
                dest_position=first * spec.columns,
                fresh=first == 0,
                fields={
                    "mode": mode,
                    "epilogue": EPILOGUES[node.epilogue],
                    "post_multiplier": node.post_multiplier,
                    "post_shift": node.post_shift,
                    **routed,
                    **gather,
                },
            )
            stream.reads += queues
            chunks.append(
                Step(
                    node=node.name,
                    part=first,
                    works=[stationary, stream],
                    fetches=fetches,
                    macs=macs * (first + count) // n_tiles - macs * first // n_tiles,
                    ahead=ahead,
                )
            )
        self.steps += self._ordered(node, chunks, rows)
        self.places[node.name] = dest
        self.channels[node.name] = dest.channels
        self.release(node.x, node.name)
        if node.residual:
            self.release(node.residual, node.name)
        if node.route:
            self.release(node.route, node.name)

    def _ordered(self, node: Product, chunks: list[Step], rows: int) -> list[Step]:
        """Return chunks of output tiles, cut into groups of rows, in the chosen order."""
        if node.route:
            return chunks
        match self.choices.word(node.name, "order", PRODUCT_ORDERS):
            case "first":
                return [*split_product(chunks[0], rows), *chunks[1:]]
            case "rows":
                groups = zip(*(split_product(chunk, rows) for chunk in chunks), strict=True)
                return [step for group in groups for step in group]
            case _:
                return [step for chunk in chunks for step in split_product(chunk, rows)]

    def condition(self, node: Product, step: int) -> dict[str, int]:
        """Return the fields of a fetch of a step that is skipped where an expert has no tokens.

        The weights of the first experts are fetched before it is known who has tokens: as many as
        the ring of weights holds, unless the routing says another number.
        """
        if node.route is None:
            return {}
        room = self.spec.weight_lines // self._expert_lines[node.route, node.expert]
        experts = self.graph[node.route].channels
        early = self.choices.number(node.route, "early", min(room, experts), range(experts + 1))
        if node.expert < early:
            return {}
        return {
            "expert": 1 + node.expert,
            "behind": step - self.route_steps[node.route],
        }

    @cached_property
    def _expert_lines(self) -> Counter[tuple[str, int]]:
        """Lines of weights of each expert, by its routing and its number."""
        lines: Counter[tuple[str, int]] = Counter()
        columns = self.spec.columns
        for node in self.graph.nodes:
            if isinstance(node, Product) and node.route:
                inputs, outputs = node.weight.shape
                tiles = ceil_div(inputs, self.spec.rows) * ceil_div(outputs, columns)
                lines[node.route, node.expert] += tiles * columns
        return lines

    def on_chip_product(
        self,
        name: str,
        part: int,
        *,
        source: Place,
        operand: Place,
        row_mode: bool,
        position: int,
        tokens: int,
        contraction: int,
        outputs: int,
        dest: Place,
        fields: dict[str, int],
        rows: int | None = None,
        source_position: int = 0,
        dest_position: int = 0,
    ) -> Step:
        """Return the step of a product whose second operand lies in the K/V scratchpad.

        It will be cut into groups of `rows` of its tokens, if that is given.
        """
        spec = self.spec
        k_tiles, n_tiles = ceil_div(contraction, spec.rows), ceil_div(outputs, spec.columns)
        stationary = Work(
            unit=Unit.STATIONARY,
            fields={
                "source_kv": 1,
                "array": ARRAYS.index("attention"),
                "row_mode": int(row_mode),
                "n_tiles": n_tiles,
                "k_tiles": k_tiles,
                "base": operand.base,
                "position": position,
                "pitch": operand.pitch,
                "k_valid": contraction if row_mode else 0,
            },
            reads=(operand.span,),
        )
        stream = self._stream(
            source,
            dest,
            tokens=tokens,
            rows=rows,
            n_tiles=n_tiles,
            k_tiles=k_tiles,
            dest_position=dest_position,
            fields={
                "position": source_position,
                "array": ARRAYS.index("attention"),
                **fields,
            },
        )
        macs = tokens * contraction * outputs
        return Step(node=name, part=part, works=[stationary, stream], macs=macs)

    def _stream(
        self,
        source: Place,
        dest: Place,
        *,
        tokens: int,
        n_tiles: int,
        k_tiles: int,
        dest_position: int,
        fields: dict[str, int],
        rows: int | None = None,
        fresh: bool = True,
    ) -> Work:
        """Return a STREAM command over all rows of tokens, of which it will do `rows` at a time.

        Chunks of one product meet no other chunk's columns: only the first, the `fresh` one, waits
        for what it adds to.
        """
        beats = ceil_div(tokens, self.spec.tokens_per_beat)
        if min(beats, rows or beats) > self.spec.psum_depth:
            raise InputError(
                f"psum_depth must be at least {beats} for {tokens} tokens, "
                f"not {self.spec.psum_depth}"
            )
        reads = [source.span]
        ports: tuple[str, ...] = ()
        if dest.buffer == Buffer.RESIDUAL:
            ports = ("residual write",)
            if fields.get("epilogue") in (Epilogue.ADD, Epilogue.WEIGH):
                ports = ("residual write", "residual read")
                reads += [dest.span] if fresh else []
        return Work(
            unit=Unit.STREAM,
            fields={
                "source": source.buffer,
                "beats": beats,
                "odd": int(tokens % self.spec.tokens_per_beat == 1),
                "n_tiles": n_tiles,
                "k_tiles": k_tiles,
                "base": source.base,
                "pitch": source.pitch,
                "dest": dest.buffer,
                "dest_base": dest.base,
                "dest_pitch": dest.pitch,
                "dest_position": dest_position,
                **fields,
            },
            reads=tuple(reads),
            writes=(dest.span,),
            ports=ports,
        )

    def _destination(self, node: Product, tokens: int) -> Place:
        """Choose where a product's result goes, by who reads it."""
        spec = self.spec
        if node.epilogue in ("add", "weigh"):
            residual = str(node.residual)
            if not self.last_use(residual, node.name):
                raise InputError(f"{node.name}: {residual} is used again after the addition")
            return self.places[residual]
        buffer, step, heads, size = Buffer.ACT, 1, 1, node.channels
        for user in self.graph.users(node.name):
            if isinstance(user, Scores):
                heads, size, step = user.heads, user.head_channels, spec.rows
                if user.k == node.name:
                    buffer = Buffer.KV
            elif isinstance(user, Mix):
                heads, size, step = user.heads, user.head_channels, spec.columns
                buffer = Buffer.KV
        if node.epilogue == "wide":
            buffer = Buffer.RESIDUAL
        if any(isinstance(user, Route) for user in self.graph.users(node.name)):
            buffer, size = Buffer.SCORE, max(size, ceil_div(size, spec.lanes) * spec.lanes)
        channels = head_channels(heads, size, step)
        # scores read whole rows of queries and keys: what pads a head is written, as zeros
        width = self.columns_width(heads * ceil_div(size, step) * step)
        return self.places.give(
            buffer,
            tokens,
            width,
            what=node.name,
            channels=channels,
            together=buffer == Buffer.RESIDUAL,
        )

    def _mode(self, node: Product, source: Place) -> NM | None:
        """Return the weight format to use; dense where the array or the layout cannot."""
        nm = node.nm
        if nm is None:
            return None
        if nm not in self.spec.sparsity:
            self.notes.append(f"{node.name}: {nm} runs dense, the accelerator has no such mode")
            return None
        channels = source.channels[: node.weight.shape[0]]
        starts = channels[:: nm.m]
        whole = len(channels) // nm.m * nm.m
        grouped = channels[:whole].reshape(-1, nm.m)
        aligned = (grouped == grouped[:, :1] + np.arange(nm.m)).all() and not (starts % nm.m).any()
        if not aligned:
            self.notes.append(f"{node.name}: {nm} runs dense, heads cut its groups")
            return None
        return nm

    def _check_sums(self, node: Product) -> None:
        """Refuse a product whose sums may overflow."""
        bound, bits = self.graph.largest_sums[node.name], self.spec.acc_bits
        if bound >= 1 << (bits - 1):
            raise InputError(f"{node.name}: sums must stay below 2**{bits - 1}, not {bound}")

    def _tiles_per_chunk(self, node: Product, n_tiles: int, k_tiles: int, nm: NM | None) -> int:
        """Return the output tiles of a chunk, as many as wanted; one at least must fit."""
        spec = self.spec
        lines = k_tiles * spec.columns
        limits = [
            ("weight_lines", spec.weight_lines, lines),
            ("param_columns", spec.param_columns, max(spec.columns, spec.bus_bytes // 8)),
        ]
        if nm is not None:
            limits.append(("index_lines", spec.index_lines, lines // 2))
        for name, have, need in limits:
            if need > have:
                raise InputError(f"{name} must be at least {need} for {node.name}, not {have}")
        usual = max(1, min(have // CHUNKS // need for _, have, need in limits))
        most = min(n_tiles, *(have // need for _, have, need in limits))
        return self.choices.number(node.name, "tiles", min(usual, n_tiles), range(1, most + 1))
