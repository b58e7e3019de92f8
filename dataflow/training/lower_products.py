"""From products to commands' fields: parts that the partial sums hold, tiles, walks."""

from dataclasses import dataclass, replace

from moesaic.dataflow.steps import Work
from moesaic.dataflow.training.places import Place, Places, ceil_div
from moesaic.dataflow.training.walks import cuts, dest_fields, in_grids, walk_fields
from moesaic.models.accel import AccelSpec
from moesaic.models.commands import Unit
from moesaic.models.errors import InputError
from moesaic.models.training.step import Layout, Product, Ref, Term


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """One part of a product: its two commands, the MACs executed, and its first row.

    `dense_macs` are the MACs without N:M, `weights` is the tensor that the array holds.
    """

    stationary: Work
    stream: Work
    macs: int
    dense_macs: int
    weights: str
    row: int


class ProductLowering:
    """Fields of the commands of a product; places are those of the moment.

    Parameters
    ----------
    spec : AccelSpec
    places : Places
    """

    def __init__(self, spec: AccelSpec, places: Places) -> None:
        self.spec, self.places = spec, places

    def works(self, op: Product) -> list[Part]:
        """Return the parts of a product, in order.

        Rows are cut to what the partial sums hold. Where terms share a sum, tiles of outputs come
        one by one, each with all terms.
        """
        spec, op = self.spec, in_grids(op)
        parts: list[Part] = []
        n_tiles = ceil_div(op.out.channels, spec.columns)
        for cut in cuts(op.out.rows, op.out.pixels, spec.psum_depth):
            out, row = cut.of(op.out), cut.first
            terms = [replace(term, left=cut.of(term.left)) for term in op.terms]
            if len(terms) == 1:
                parts.append(self._part(out, terms[0], row, 0, n_tiles, True, True))
                continue
            for tile in range(n_tiles):
                for number, term in enumerate(terms):
                    last = number == len(terms) - 1
                    parts.append(self._part(out, term, row, tile, 1, not number, last))
        return parts

    def _part(
        self, part: Ref, term: Term, row: int, tile: int, tiles: int, first: bool, last: bool
    ) -> Part:
        spec = self.spec
        left, right, out = (
            self.places.now[ref.tensor.name] for ref in (term.left, term.right, part)
        )
        nm = term.right.tensor.nm
        step = spec.operands_per_beat(nm)
        k_tiles = ceil_div(term.left.channels, step)
        self._check_part(term.left, spec.rows)
        held: dict[str, int] = {"n_tiles": tiles, "k_tiles": k_tiles, "mode": spec.mode_number(nm)}
        if term.layout == Layout.WEIGHTS:
            if term.right.row % spec.columns:
                raise InputError(
                    f"columns must divide the outputs of each tap of {term.right.tensor.name}, "
                    f"{term.right.rows}, not {spec.columns}"
                )
            words = ceil_div(term.left.channels, spec.operands_per_word(nm))  # of a column
            word = (term.right.row // spec.columns + tile) * words * spec.columns
            held |= {"line_base": right.base + word, "index_base": right.place_base + word // 2}
            reads = right.spans
        else:
            held |= self._held(term, right, tile)
            reads = (self.places.span(term.right),)
        stationary = Work(unit=Unit.STATIONARY, fields=held, reads=reads)
        if part.channel % spec.lanes:
            raise InputError(f"{part.tensor.name}: lanes must divide {part.channel}")
        stream = Work(
            unit=Unit.STREAM,
            fields={
                "mode": spec.mode_number(nm),
                "beats": part.rows,
                "n_tiles": tiles,
                "k_tiles": k_tiles,
                "position": term.left.channel,
                **walk_fields(term.left, left.base, left.pitch),
                **dest_fields(part, out.base + part.channel // spec.lanes + tile, out.pitch),
                "first": int(first),
                "last": int(last),
            },
            reads=(self.places.span(term.left),),
            writes=(self.places.span(part),) if last else (),
        )
        columns = min(part.channels - tile * spec.columns, tiles * spec.columns)
        dense_macs = part.rows * term.left.channels * columns
        return Part(
            stationary=stationary,
            stream=stream,
            macs=dense_macs if nm is None else dense_macs * nm.n // nm.m,
            dense_macs=dense_macs,
            weights=term.right.tensor.name if term.layout == Layout.WEIGHTS else "",
            row=row,
        )

    def _held(self, term: Term, place: Place, tile: int) -> dict[str, int]:
        """Return where the stationary operand lies in X."""
        spec, right = self.spec, term.right
        rows_held = term.layout == Layout.ROWS
        self._check_part(right, spec.columns if rows_held else spec.rows)
        fields = {
            "source_x": 1,
            "row_mode": int(rows_held),
            "position": right.channel + (tile * spec.columns if rows_held else 0),
            "valid": right.rows,
        }
        if rows_held:
            return fields | walk_fields(right, place.base, place.pitch)
        if right.pixels is not None:
            raise ValueError(f"{right.tensor.name}: pixels are held in rows of the array")
        skipped = tile * spec.columns
        fields["valid"] -= skipped
        base = place.base + skipped * right.step * place.pitch
        return fields | walk_fields(right, base, place.pitch)

    def _check_part(self, ref: Ref, size: int) -> None:
        """Refuse parts of tensors that begin or end within a tile of operands."""
        inside = ref.channel + ref.channels < ref.tensor.channels
        if ref.channel % size or (inside and ref.channels % size):
            raise InputError(
                f"rows and columns must divide the parts of {ref.tensor.name}, {ref.channels} "
                f"channels from {ref.channel} on, not {size}"
            )
