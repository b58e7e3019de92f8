"""Attention: scores, softmax and mix head by head; the vector unit works beside the array."""

from dataclasses import dataclass, replace

from moesaic.dataflow.lower_product import ProductLowering
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
    last softmax), then the mixes. A group has as many heads as probabilities find room.
    """

    def attention(self, scores: Scores) -> None:
        """Lower scores, softmax, the values' product and the mix."""
        softmax, mix = self._followers(scores)
        tokens = self.graph[scores.q].tokens
        a = self._slots(scores, softmax, mix, tokens)
        out = self._result(mix, tokens)
        group = len(a.prob_slots)
        for first in range(0, scores.heads, group):
            heads = range(first, min(first + group, scores.heads))
            for head in heads:
                self._scores(a, head)
                self._softmax(a, head)
            if first == 0:
                values = self.graph[mix.v]
                if not isinstance(values, Product):
                    raise InputError(f"{mix.name}: values must come from a product, not {mix.v}")
                self.product(values)
            for head in heads:
                self._mix(a, head, out)
        for place in (*a.score_slots, *a.prob_slots):
            self.scratch.free(place)
        self.places[mix.name] = out
        self.channels[mix.name] = out.channels
        self.release(scores.q, scores.name)
        self.release(scores.k, scores.name)
        self.release(mix.v, mix.name)

    def _followers(self, scores: Scores) -> tuple[Softmax, Mix]:
        """Return the softmax and the mix that belong to the scores."""
        softmaxes = [n for n in self.graph.users(scores.name) if isinstance(n, Softmax)]
        mixes = [n for s in softmaxes for n in self.graph.users(s.name) if isinstance(n, Mix)]
        if len(softmaxes) != 1 or len(mixes) != 1:
            raise InputError(f"{scores.name}: scores must have one softmax and that one mix")
        return softmaxes[0], mixes[0]

    def _slots(self, scores: Scores, softmax: Softmax, mix: Mix, tokens: int) -> _Attention:
        """Place as many heads' scores and probabilities as there is room for."""
        spec, scratch = self.spec, self.scratch
        width = max(self.columns_width(tokens), ceil_div(tokens, spec.lanes) * spec.lanes)
        rows = ceil_div(tokens, spec.tokens_per_beat)
        if rows > spec.rowstat_rows:
            raise InputError(
                f"rowstat_rows must be at least {rows} for {scores.name}, not {spec.rowstat_rows}"
            )
        score_slots = [scratch.place(Buffer.SCORE, tokens, width, what=scores.name)]
        # room for the values in K/V is another scratchpad's matter: probabilities are alone in VEC
        prob_slots = [scratch.place(Buffer.VEC, tokens, width, what=softmax.name)]
        for _ in range(1, scores.heads):
            place = scratch.try_place(Buffer.SCORE, tokens, width)
            if place is not None:
                score_slots.append(place)
            if (len(prob_slots) + 1) * rows <= spec.rowstat_rows:
                place = scratch.try_place(Buffer.VEC, tokens, width)
                if place is not None:
                    prob_slots.append(place)
        return _Attention(
            scores=scores,
            softmax=softmax,
            mix=mix,
            tokens=tokens,
            score_slots=score_slots,
            prob_slots=prob_slots,
        )

    def _result(self, mix: Mix, tokens: int) -> Place:
        channels = head_channels(mix.heads, mix.head_channels, self.spec.columns)
        width = self.columns_width(int(channels.max()) + 1)
        return self.scratch.place(Buffer.ACT, tokens, width, what=mix.name, channels=channels)

    def _scores(self, a: _Attention, head: int) -> None:
        """Queries times keys: keys are the stationary operand, a token per column."""
        node = a.scores
        queries, keys = self.places[node.q], self.places[node.k]
        first = head * node.head_channels
        self.steps += self._in_order(
            self.on_chip_product(
                node.name,
                head,
                source=queries,
                source_position=int(queries.channels[first]),
                operand=keys,
                row_mode=False,
                position=int(keys.channels[first]),
                tokens=a.tokens,
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
        )

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
        self.steps.append(Step(node=node.name, part=head, works=[work]))

    def _mix(self, a: _Attention, head: int, out: Place) -> None:
        """Probabilities times values: values are the stationary operand, a token per row."""
        node = a.mix
        values = self.places[node.v]
        stats = self._stat_span(a, head)
        first = head * node.head_channels
        step = self.on_chip_product(
            node.name,
            head,
            source=a.prob_slots[head % len(a.prob_slots)],
            operand=values,
            row_mode=True,
            position=int(values.channels[first]),
            tokens=a.tokens,
            contraction=a.tokens,
            outputs=node.head_channels,
            dest=out,
            dest_position=int(out.channels[first]),
            fields={"scale_source": ScaleSource.ROW, "rowstat_base": stats[1]},
        )
        stream = step.works[1]
        stream.reads = (*stream.reads, stats)
        self.steps += self._in_order(step)

    def _in_order(self, step: Step) -> list[Step]:
        """Return a product as one step, or in plain order as one for each row of tokens."""
        if self.options.attention == "shared":
            return [step]
        stationary, stream = step.works
        rows = stream.fields["beats"]
        last_odd = stream.fields["odd"]
        macs = [step.macs * (row + 1) // rows - step.macs * row // rows for row in range(rows)]
        return [
            replace(
                step,
                row=row,
                works=[
                    replace(stationary, fields=dict(stationary.fields)),
                    replace(
                        stream,
                        fields=stream.fields
                        | {
                            "beats": 1,
                            "odd": last_odd if row == rows - 1 else 0,
                            "base": stream.fields["base"] + row * stream.fields["pitch"],
                            "dest_base": stream.fields["dest_base"]
                            + row * stream.fields["dest_pitch"],
                            "rowstat_base": stream.fields.get("rowstat_base", 0) + row,
                        },
                    ),
                ],
                macs=macs[row],
            )
            for row in range(rows)
        ]

    def _stat_span(self, a: _Attention, head: int) -> tuple[str, int, int]:
        rows = ceil_div(a.tokens, self.spec.tokens_per_beat)
        first = head % len(a.prob_slots) * rows
        return "ROWSTAT", first, first + rows
