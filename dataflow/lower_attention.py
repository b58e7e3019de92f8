"""Attention: scores, softmax and mix head by head; the vector unit works beside the array."""

from dataclasses import dataclass

from moesaic.dataflow.choices import ATTENTION_ORDERS
from moesaic.dataflow.lower_product import ProductLowering
from moesaic.dataflow.rows import STATISTICS, split_product, split_vector
from moesaic.dataflow.scratch import Place, ceil_div, head_channels
from moesaic.dataflow.steps import Step, Work
from moesaic.models.commands import Buffer, ScaleSource, Unit, VectorOp
from moesaic.models.errors import InputError
from moesaic.models.graph import Mix, Product, Scores, Softmax


@dataclass(frozen=True, slots=True, kw_only=True)
class _Attention:
    """The three nodes of one attention, its token count, and its slots."""

    scores: Scores
    softmax: Softmax
    mix: Mix
    tokens: int
    score_slots: list[Place]
    prob_slots: list[Place]


class AttentionLowering(ProductLowering):
    """Lower attentions.

    Scores and softmax of all heads of a group come first, then the values' product (it hides the
    last softmax), then the mixes. A group has as many heads as probabilities find room. Unless the
    layer's choices say otherwise: see :class:`moesaic.dataflow.choices.LayerChoice`.
    """

    def attention(self, scores: Scores) -> None:
        """Lower scores, softmax, the values' product and the mix."""
        softmax, mix = self._followers(scores)
        tokens = self.graph[scores.q].tokens
        a = self._slots(scores, softmax, mix, tokens)
        out = self._result(mix, tokens)
        values = self.graph[mix.v]
        if not isinstance(values, Product):
            raise InputError(f"{mix.name}: values must come from a product, not {mix.v}")
        group = len(a.prob_slots)
        before = self.choices.number(scores.name, "values", group, range(group + 1))
        for position, (mixes, head) in enumerate(self._order(scores, group)):
            if position == before:
                self.product(values)
            if mixes:
                self._mix(a, head, out)
            else:
                self._scores(a, head)
                self._softmax(a, head)
        for place in (*a.score_slots, *a.prob_slots):
            self.scratch.free(place)
        self.places[mix.name] = out
        self.channels[mix.name] = out.channels
        self.release(scores.q, scores.name)
        self.release(scores.k, scores.name)
        self.release(mix.v, mix.name)

    def _order(self, scores: Scores, group: int) -> list[tuple[bool, int]]:
        """Return heads in the order of their scores (False) and of their mixes (True)."""
        heads = range(scores.heads)
        if self.choices.word(scores.name, "order", ATTENTION_ORDERS) == "grouped":
            groups = [heads[first : first + group] for first in heads[::group]]
            return [(mixes, h) for some in groups for mixes in (False, True) for h in some]
        rolling = [(False, h) for h in heads[:group]]
        for head in heads:
            rolling.append((True, head))
            rolling += [(False, h) for h in heads[head + group : head + group + 1]]
        return rolling

    def _followers(self, scores: Scores) -> tuple[Softmax, Mix]:
        """Return the softmax and the mix that belong to the scores."""
        softmaxes = [n for n in self.graph.users(scores.name) if isinstance(n, Softmax)]
        mixes = [n for s in softmaxes for n in self.graph.users(s.name) if isinstance(n, Mix)]
        if len(softmaxes) != 1 or len(mixes) != 1:
            raise InputError(f"{scores.name}: scores must have one softmax and that one mix")
        return softmaxes[0], mixes[0]

    def _slots(self, scores: Scores, softmax: Softmax, mix: Mix, tokens: int) -> _Attention:
        """Place as many heads' scores and probabilities as there is room for, or as are wanted."""
        spec = self.spec
        width = max(self.columns_width(tokens), ceil_div(tokens, spec.lanes) * spec.lanes)
        rows = ceil_div(tokens, spec.tokens_per_beat)
        if rows > spec.rowstat_rows:
            raise InputError(
                f"rowstat_rows must be at least {rows} for {scores.name}, not {spec.rowstat_rows}"
            )
        # room for the values in K/V is another scratchpad's matter: probabilities are alone in VEC
        room = min(scores.heads, spec.rowstat_rows // rows)
        score_slots = self._in_flight(
            scores.name, "slots", Buffer.SCORE, tokens, width, room=scores.heads, what=scores.name
        )
        prob_slots = self._in_flight(
            scores.name, "heads", Buffer.VEC, tokens, width, room=room, what=softmax.name
        )
        return _Attention(
            scores=scores,
            softmax=softmax,
            mix=mix,
            tokens=tokens,
            score_slots=score_slots,
            prob_slots=prob_slots,
        )

    def _in_flight(
        self,
        layer: str,
        knob: str,
        buffer: Buffer,
        tokens: int,
        width: int,
        *,
        room: int,
        what: str,
    ) -> list[Place]:
        """Return places for at most `room` heads; those that are not wanted are given back."""
        places = [self.scratch.place(buffer, tokens, width, what=what)]
        while len(places) < room:
            place = self.scratch.try_place(buffer, tokens, width)
            if place is None:
                break
            places.append(place)
        count = self.choices.number(layer, knob, len(places), range(1, len(places) + 1))
        for place in places[count:]:
            self.scratch.free(place)
        return places[:count]

    def _result(self, mix: Mix, tokens: int) -> Place:
        channels = head_channels(mix.heads, mix.head_channels, self.spec.columns)
        width = self.columns_width(int(channels.max()) + 1)
        return self.scratch.place(Buffer.ACT, tokens, width, what=mix.name, channels=channels)

    def _scores(self, a: _Attention, head: int) -> None:
        """Queries times keys: keys are the stationary operand, a token per column."""
        node = a.scores
        queries, keys = self.places[node.q], self.places[node.k]
        first = head * node.head_channels
        rows = self._group_rows(node.name, a.tokens)
        step = self.on_chip_product(
            node.name,
            head,
            source=queries,
            source_position=int(queries.channels[first]),
            operand=keys,
            row_mode=False,
            position=int(keys.channels[first]),
            tokens=a.tokens,
            rows=rows,
            contraction=node.head_channels,
            outputs=a.tokens,
            dest=a.score_slots[head % len(a.score_slots)],
            fields={
                "epilogue": 1,
                "scale_source": ScaleSource.COMMAND,
                "post_multiplier": node.multiplier,
                "post_shift": node.shift,
            },
        )
        self.steps += split_product(step, rows)

    def _softmax(self, a: _Attention, head: int) -> None:
        node = a.softmax
        source = a.score_slots[head % len(a.score_slots)]
        dest = a.prob_slots[head % len(a.prob_slots)]
        work = Work(
            unit=Unit.VECTOR,
            fields={
                "op": VectorOp.SOFTMAX,
                "source": source.buffer,
                "base": source.base,
                "pitch": source.pitch,
                "tokens": a.tokens,
                "beats": ceil_div(a.tokens, self.spec.lanes),
                "valid": a.tokens,
                "dest": dest.buffer,
                "dest_base": dest.base,
                "dest_pitch": dest.pitch,
                "rowstat_base": self._stat_span(a, head)[1],
                "multiplier": node.multiplier,
                "shift": node.shift,
                "passes": node.softmax_passes if node.softmax_passes > 1 else 0,
            },
            reads=(source.span,),
            writes=(dest.span, self._stat_span(a, head)),
        )
        rows = self.rows(a.tokens)
        size = self.choices.number(node.name, "rows", rows, range(1, rows + 1))
        step = Step(node=node.name, part=head, works=[work])
        self.steps += split_vector(step, size, self.spec.tokens_per_beat)

    def _mix(self, a: _Attention, head: int, out: Place) -> None:
        """Probabilities times values: values are the stationary operand, a token per row."""
        node = a.mix
        values = self.places[node.v]
        stats = self._stat_span(a, head)
        first = head * node.head_channels
        rows = self._group_rows(node.name, a.tokens)
        step = self.on_chip_product(
            node.name,
            head,
            source=a.prob_slots[head % len(a.prob_slots)],
            operand=values,
            row_mode=True,
            position=int(values.channels[first]),
            tokens=a.tokens,
            rows=rows,
            contraction=a.tokens,
            outputs=node.head_channels,
            dest=out,
            dest_position=int(out.channels[first]),
            fields={"scale_source": ScaleSource.ROW, "rowstat_base": stats[1]},
        )
        stream = step.works[1]
        stream.reads = (*stream.reads, stats)
        self.steps += split_product(step, rows)

    def _group_rows(self, layer: str, tokens: int) -> int:
        """Return the rows of a command of scores or mixes: one tile for all, or one each."""
        rows = self.rows(tokens)
        usual = rows if self.options.attention == "shared" else 1
        return self.choices.number(layer, "rows", usual, range(1, rows + 1))

    def _stat_span(self, a: _Attention, head: int) -> tuple[str, int, int]:
        rows = ceil_div(a.tokens, self.spec.tokens_per_beat)
        first = head % len(a.prob_slots) * rows
        return STATISTICS, first, first + rows
