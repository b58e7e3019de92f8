"""From the graph to steps: which unit does what, where tensors lie, which words meet."""

import numpy as np

from moesaic.dataflow.lower_attention import AttentionLowering
from moesaic.dataflow.lower_product import ProductLowering
from moesaic.dataflow.packing import norm_data, token_data
from moesaic.dataflow.rows import split_vector
from moesaic.dataflow.scoreboard import QUEUES
from moesaic.dataflow.scratch import Place, ceil_div
from moesaic.dataflow.steps import Fetch, Step, Work
from moesaic.models.commands import Buffer, Unit, VectorOp
from moesaic.models.errors import InputError
from moesaic.models.graph import (
    Constant,
    Input,
    LayerNorm,
    Mix,
    Node,
    Pool,
    Product,
    Route,
    Scale,
    Scores,
    Softmax,
)
from moesaic.models.layernorm import reciprocal_field


class Lowering(AttentionLowering, ProductLowering):
    """Lower a graph's nodes in order; values of V wait until the scores are on their way.

    Parameters
    ----------
    spec : AccelSpec
    graph : Graph
    options : MapOptions
    """

    def run(self) -> list[Step]:
        """Return the steps of one image."""
        for node in self.graph.nodes:
            self.lower(node)
            if node.name in self.places:
                self.channels[node.name] = self.places[node.name].channels
        self.store_result()
        return self.steps

    def lower(self, node: Node) -> None:
        """Lower one node, unless an attention takes it along."""
        match node:
            case Input():
                self.input(node)
            case Constant():
                self.constant(node)
            case Product():
                if node.name not in self.deferred:
                    self.product(node)
            case Scores():
                self.attention(node)
            case Softmax() | Mix():
                pass
            case LayerNorm() | Scale():
                self.vector(node)
            case Route():
                self.route(node)
            case Pool():
                self.pool(node)
            case _:
                raise InputError(f"{node.name}: no mapping for {type(node).__name__}")

    def input(self, node: Input) -> None:
        """The input comes from memory in the order of its scratchpad."""
        place = self.scratch.place(Buffer.INPUT, node.tokens, node.channels, what=node.name)
        self.places[node.name] = place
        self.fetch_tokens(node.name, place, self.spec.act_word, self.spec.data_bytes)

    def constant(self, node: Constant) -> None:
        """The residual stream begins as a constant."""
        place = self.places.give(
            Buffer.RESIDUAL, node.tokens, node.channels, what=node.name, together=True
        )
        self.places[node.name] = place
        data = token_data(
            node.value,
            spec=self.spec,
            word=self.spec.wide_word,
            value_bytes=self.spec.wide_bytes,
        )
        _, base, stop = place.span
        self.steps.append(
            Step(
                node=node.name,
                works=[],
                fetches=[Fetch(buffer=Buffer.RESIDUAL, lines=stop - base, data=data, base=base)],
            )
        )

    def fetch_tokens(self, name: str, place: Place, word: int, value_bytes: int) -> None:
        """Fetch the input: whole words, or only the beats that hold values."""
        _, base, stop = place.span
        fetch = Fetch(buffer=place.buffer, lines=stop - base, base=base)
        if place.pitch == 1:
            bus = self.spec.bus_bytes
            fetch.rows = place.rows * self.spec.tokens_per_beat
            fetch.row_beats = ceil_div(place.width * value_bytes, bus)
            fetch.line_pitch = word * value_bytes // bus
        self.steps.append(Step(node=name, works=[], fetches=[fetch]))

    def vector(self, node: LayerNorm | Scale) -> None:
        """LayerNorm or a change of scale by the vector unit."""
        source = self.places[node.x]
        if source.buffer != Buffer.RESIDUAL:
            raise InputError(f"{node.name}: its input must be wide, not {source.buffer.name}")
        to_wide = isinstance(node, LayerNorm) and node.to_wide
        if to_wide:
            if not self.last_use(node.x, node.name):
                raise InputError(f"{node.name}: {node.x} is used again after a wide LayerNorm")
            place = source
        else:
            buffer = Buffer.KV if self.feeds_pool(node.name) else Buffer.VEC
            width = ceil_div(node.channels, self.spec.lanes) * self.spec.lanes
            place = self.places.give(
                buffer, node.tokens, width, what=node.name, together=buffer == Buffer.VEC
            )
        self.places[node.name] = place
        beats = ceil_div(node.channels, self.spec.lanes)
        fields = {
            "source": Buffer.RESIDUAL,
            "base": source.base,
            "pitch": source.pitch,
            "token": node.first_token,
            "tokens": node.tokens,
            "beats": beats,
            "valid": node.channels,
            "dest": place.buffer,
            "dest_base": place.base,
            "dest_pitch": place.pitch,
            "dest_token": node.first_token if to_wide else 0,
        }
        fetches = []
        if isinstance(node, LayerNorm):
            fields |= {
                "op": VectorOp.LAYERNORM,
                "shift": node.shift,
                "reciprocal": reciprocal_field(node.channels),
                "epsilon": node.epsilon,
            }
            data = norm_data(node.gain, node.offset, self.spec.lanes)
            fetches = [Fetch(buffer=Buffer.NORM, lines=beats, data=data, field="norm_base")]
        else:
            fields |= {
                "op": VectorOp.SCALE,
                "multiplier": node.multiplier,
                "shift": node.shift,
            }
        ports = ("residual read", "residual write") if to_wide else ("residual read",)
        work = Work(
            unit=Unit.VECTOR,
            fields=fields,
            reads=(source.span,),
            writes=(place.span,),
            ports=ports,
        )
        step = Step(node=node.name, works=[work], fetches=fetches)
        self.steps += self._vector_rows(node, step, source)
        self.release(node.x, node.name)

    def _vector_rows(self, node: LayerNorm | Scale, step: Step, source: Place) -> list[Step]:
        """Return rows of the vector unit, cut into groups where they begin with the first."""
        rows = self.rows(node.tokens)
        size = rows
        if not node.first_token:
            size = self.choices.number(node.name, "rows", rows, range(1, rows + 1))
        if size == rows:
            return [step]
        name, start, _ = source.span
        (work,) = step.works
        work.reads = ((name, start, start + rows * source.pitch),)
        if work.writes == (source.span,):
            work.writes = work.reads
        return split_vector(step, size, self.spec.tokens_per_beat)

    def route(self, node: Route) -> None:
        """Logits become queues of tokens for each expert."""
        if node.channels > self.spec.experts:
            raise InputError(
                f"experts must be at least {node.channels} for {node.name}, not {self.spec.experts}"
            )
        if node.renormalise:
            raise InputError(f"{node.name}: renormalised gate scores have no mapping")
        source, image = self.places[node.x], self.places.image or 0
        fields = {
            "op": VectorOp.ROUTE,
            "source": Buffer.SCORE,
            "base": source.base,
            "pitch": source.pitch,
            "tokens": node.tokens,
            "beats": ceil_div(node.channels, self.spec.lanes),
            "valid": node.channels,
            "top": node.top,
            "dest": Buffer.VEC,
            # rows of all images of a batch are counted through
            "dest_token": image * self.rows(node.tokens) * self.spec.tokens_per_beat,
            "append": int(image > 0),
        }
        work = Work(unit=Unit.VECTOR, fields=fields, reads=(source.span,), writes=(QUEUES,))
        self.route_steps[node.name] = len(self.steps)
        self.steps.append(Step(node=node.name, works=[work]))
        self.release(node.x, node.name)

    def pool(self, node: Pool) -> None:
        """Sum of tokens: a row of ones times the tokens, which lie in the K/V scratchpad."""
        place = self.places[node.x]
        ones = np.ones((1, node.pooled), dtype=np.int64)
        ones_place = self.scratch.place(Buffer.INPUT, 1, node.pooled, what=node.name)
        data = token_data(
            ones, spec=self.spec, word=self.spec.act_word, value_bytes=self.spec.data_bytes
        )
        _, base, stop = ones_place.span
        out = self.scratch.place(Buffer.ACT, 1, self.columns_width(node.channels), what=node.name)
        self.places[node.name] = out
        step = self.on_chip_product(
            node.name,
            0,
            source=ones_place,
            operand=place,
            row_mode=True,
            position=0,
            tokens=1,
            contraction=node.pooled,
            outputs=node.channels,
            dest=out,
            fields={
                "scale_source": 1,
                "post_multiplier": node.multiplier,
                "post_shift": node.shift,
            },
        )
        step.fetches.append(Fetch(buffer=Buffer.INPUT, lines=stop - base, data=data, base=base))
        self.steps.append(step)
        self.scratch.free(ones_place)
        self.release(node.x, node.name)

    def store_result(self) -> None:
        """The last node's tensor goes to memory as it lies in its scratchpad."""
        node = self.graph.nodes[-1]
        place = self.places[node.name]
        if place.buffer != Buffer.RESIDUAL:
            raise InputError(f"{node.name}: the result must be wide, not in {place.buffer.name}")
        beats = self.beats(place.buffer)
        _, base, stop = place.span
        fields = {
            "rows": 1,
            "row_beats": (stop - base) * beats,
            "row_pitch": 0,
            "buffer": place.buffer,
            "line": base * beats,
        }
        work = Work(unit=Unit.STORE, fields=fields, reads=(place.span,), ports=("residual read",))
        self.steps.append(Step(node=node.name, part=-1, works=[work]))
