"""Follows a program's activations and has the builder make layers of them."""

from collections.abc import Callable
from typing import Any

import numpy as np

from moesaic.models.errors import InputError
from moesaic.models.importing.builder import Builder
from moesaic.models.importing.meaning import NUMBERS, VIEWS, ints
from moesaic.models.importing.program import (
    COMPUTED_LIMIT,
    UNSUPPORTED,
    Array,
    Op,
    Program,
    UnsupportedError,
)
from moesaic.models.importing.values import (
    Elementwise,
    Moment,
    ScoresBase,
    Unknown,
    View,
)

Value = Array | View | Elementwise | Moment | Unknown
Handler = Callable[..., Any]
HANDLERS: dict[str, Handler] = {}
_MALFORMED = (ValueError, IndexError, KeyError, TypeError, ArithmeticError, AttributeError)


def handles(*kinds: str) -> Callable[[Handler], Handler]:
    """Register what a kind of operator does where an activation takes part."""

    def register(handler: Handler) -> Handler:
        HANDLERS.update(dict.fromkeys(kinds, handler))
        return handler

    return register


class Tracer:
    """The values of a program by name, and the tools that handlers use on them."""

    def __init__(self, program: Program) -> None:
        self.program = program
        self.builder = Builder()
        self.values: dict[str, Value] = dict(program.constants)
        self.values[program.input_name] = self.builder.input(program.input_shape)
        self.refused: dict[str, None] = {}
        self._plain: dict[int, tuple[Elementwise, View]] = {}
        self.computed = 0
        self.op = Op(kind="", label="", inputs=(), outputs=())

    def plain(self, value: Value) -> View:
        """Return the view that a value is; a function must be affine or GELU."""
        if isinstance(value, View):
            return value
        if not isinstance(value, Elementwise):
            raise UnsupportedError("not part of a LayerNorm" * isinstance(value, Moment))
        if id(value) not in self._plain:
            self._plain[id(value)] = value, self._settle_function(value)
        return self._plain[id(value)][1]

    def _settle_function(self, value: Elementwise) -> View:
        if affine := value.affine():
            return value.view.scaled(*affine)
        gelu = value.gelu()
        if gelu is None:
            self.refused.update(dict.fromkeys(value.labels))
            raise UnsupportedError("")
        factor, tanh = gelu
        return self.builder.gelu(value.view, tanh=tanh).scaled(factor)

    def run(self) -> View:
        """Follow all operators and return the output's matrix."""
        ops = self.program.live()
        self._check(ops)
        last_use = {name: place for place, op in enumerate(ops) for name in op.inputs}
        for place, op in enumerate(ops):
            outputs = self._outputs(op)
            self.values.update(zip(op.outputs, outputs, strict=False))
            for name in op.inputs:
                if last_use[name] == place and name != self.program.output_name:
                    self.values.pop(name, None)
        output = self.values.get(self.program.output_name)
        if not self.refused and isinstance(output, View | Elementwise):
            self.op = ops[-1] if ops else self.op
            view = self._guarded(lambda: self.plain(output))
            if isinstance(view, View):
                return view.matrix()
        if self.refused:
            raise InputError(f"unsupported operators: {', '.join(sorted(self.refused))}")
        raise InputError("the output does not depend on the input")

    def _check(self, ops: tuple[Op, ...]) -> None:
        """Note every operator without meaning."""
        known = VIEWS.keys() | NUMBERS.keys() | HANDLERS.keys()
        for op in ops:
            if op.kind not in known:
                why = op.attributes.get("why", "") if op.kind == UNSUPPORTED else ""
                self._refuse(op, why)

    def _refuse(self, op: Op, why: str) -> None:
        label = "".join(c for c in op.label[:60] if c.isprintable())
        self.refused[f"{label} ({why})" if why else label] = None

    def _outputs(self, op: Op) -> list[Value]:
        """Return the outputs of one operator; Unknown where it is refused."""
        self.op = op
        missing: list[Value] = [Unknown() for _ in op.outputs]
        inputs: list[Value | None] = [
            self.values.get(n, Unknown()) if n else None for n in op.inputs
        ]
        if op.kind == UNSUPPORTED or any(isinstance(value, Unknown) for value in inputs):
            if not self.refused:
                self._refuse(op, "reads a value that nothing makes")
            return missing
        result = self._guarded(lambda: self._apply(op, inputs))
        if isinstance(result, Unknown):
            return missing
        return list(result) if isinstance(result, list | tuple) else [result]

    def _guarded(self, call: Callable[[], Any]) -> Any:
        try:
            with np.errstate(all="ignore"):
                return call()
        except UnsupportedError as error:
            if str(error) or not self.refused:
                self._refuse(self.op, str(error))
        except InputError:
            raise
        except _MALFORMED:
            self._refuse(self.op, "does not fit its inputs")
        return Unknown()

    def _apply(self, op: Op, inputs: list[Value | None]) -> Any:
        active = [v for v in inputs if v is not None and not isinstance(v, np.ndarray)]
        if not active and (compute := VIEWS.get(op.kind) or NUMBERS.get(op.kind)):
            result = compute(*_trimmed(inputs), **op.attributes)
            self.computed += 0 if op.kind in VIEWS else int(np.size(result))
            if self.computed > COMPUTED_LIMIT:
                raise InputError(f"computes more than {COMPUTED_LIMIT} constants")
            # numpy gives scalars where an array has no axis
            return result if isinstance(result, list) else np.asarray(result)
        if op.kind in HANDLERS:
            return HANDLERS[op.kind](self, *inputs, **op.attributes)
        if op.kind in VIEWS and len(active) == 1 and active[0] is inputs[0]:
            return self._move(op, inputs)
        raise UnsupportedError("")

    def _move(self, op: Op, inputs: list[Value | None]) -> Any:
        """Apply a view operator to an activation."""
        value, rest = inputs[0], _trimmed(inputs[1:])

        def move(array: Array) -> Any:
            return VIEWS[op.kind](array, *rest, **op.attributes)

        if isinstance(value, Moment):
            if op.kind != "identity":
                raise UnsupportedError("moves the mean or variance of a LayerNorm")
            return value
        if isinstance(value, Elementwise):
            return Elementwise(value.view.moved(move), value.samples, value.labels)
        if not isinstance(value, View):
            raise UnsupportedError("")
        if isinstance(moved := move(value.index), list):
            return [value.moved(_part(move, place)) for place in range(len(moved))]
        return value.moved(move)


def _part(move: Callable[[Array], Any], place: int) -> Callable[[Array], Array]:
    return lambda array: move(array)[place]


def _trimmed(inputs: list[Value | None]) -> list[Any]:
    """Drop inputs that are left out at the end."""
    values = list(inputs)
    while values and values[-1] is None:
        values.pop()
    return values


@handles("shape")
def _shape(_: Tracer, x: Any, start: int = 0, end: int | None = None) -> Array:
    return np.array(np.shape(x) if isinstance(x, np.ndarray) else x.shape, dtype=np.int64)[
        start:end
    ]


@handles("size")
def _size(_: Tracer, x: Any) -> Array:
    return np.array(np.prod(x.shape), dtype=np.int64)


@handles("cast")
def _cast(_: Tracer, x: Value, *, dtype: Any) -> Value:
    if np.dtype(dtype).kind != "f":
        raise UnsupportedError(f"an activation becomes {np.dtype(dtype)}")
    return x


@handles("cast_like")
def _cast_like(_: Tracer, x: Any, __: Any) -> Any:
    if not isinstance(x, np.ndarray):
        return x
    return x.astype(np.float32)  # where only the pattern is an activation


@handles("isnan")
def _isnan(_: Tracer, x: Any) -> Array:
    return np.zeros(x.shape, dtype=bool)  # weights and inputs are finite


@handles("equal")
def _equal(_: Tracer, a: Any, b: Any) -> Array:
    constant = a if isinstance(a, np.ndarray) else b
    if not isinstance(constant, np.ndarray) or not np.isinf(constant).all():
        raise UnsupportedError("compares an activation")
    return np.zeros(np.broadcast_shapes(a.shape, b.shape), dtype=bool)


@handles("where")
def _where(_: Tracer, condition: Value, a: Value, b: Value) -> Value:
    if isinstance(condition, np.ndarray) and (condition.all() or not condition.any()):
        chosen = a if condition.all() else b
        if not isinstance(chosen, np.ndarray):
            return chosen
    raise UnsupportedError("chooses between activations")


@handles("expand")
def _expand(tracer: Tracer, x: Value, shape: Array) -> Any:
    if not isinstance(x, View | Elementwise) or not isinstance(shape, np.ndarray):
        raise UnsupportedError("")
    size = int(np.prod(np.maximum(ints(shape), 1)))
    if size > x.index.size if isinstance(x, View) else size > x.view.index.size:
        raise UnsupportedError("repeats an activation")
    return tracer._move(tracer.op, [x, shape])  # noqa: SLF001


@handles("concat")
def _concat(tracer: Tracer, *values: Value, axis: int) -> View:
    """Join views of one base, and constants such as a class token."""
    parts = [v if isinstance(v, np.ndarray) else tracer.plain(v) for v in values]
    bases = {id(part.base): part.base for part in parts if isinstance(part, View)}
    if len(bases) != 1:
        raise UnsupportedError("joins values of several layers")
    base = next(iter(bases.values()))
    if isinstance(base, ScoresBase):
        raise UnsupportedError("joins attention scores")

    def joined(part: str, default: float) -> Array:
        columns = []
        for value in parts:
            own = None if isinstance(value, np.ndarray) else getattr(value, part)
            constant = value if part == "offset" and isinstance(value, np.ndarray) else None
            filled = np.full(value.shape, default) if constant is None else constant
            columns.append(filled if own is None else own)
        return np.concatenate(columns, axis=axis)

    index = joined("index", -1).astype(np.int32)
    gain = joined("gain", 1.0)
    offset = joined("offset", 0.0).astype(np.float64)
    return View(base, index, None if (gain == 1).all() else gain, offset)
