"""A layer's matrix in training: master weights, and what each product reads of them."""

from dataclasses import dataclass, field

from moesaic.models.accel import NM
from moesaic.models.training.builder import Builder, full, number, whole
from moesaic.models.training.method import Method
from moesaic.models.training.step import Kind, Layout, Pack, Ref, Role, Tensor, Term
from moesaic.models.training.update import update


def fitting(nm: NM | None, channels: int) -> NM | None:
    """Return the N:M, or None where its groups do not divide the channels: such stay dense."""
    return nm if nm is not None and channels % nm.m == 0 else None


@dataclass(slots=True, kw_only=True)
class Matrix:
    """Master weights (taps * outputs, inputs); `forward` and `backward` are packed from them.

    The two are pruned on their own: `forward` along the inputs, `backward` (taps * inputs, outputs)
    along the outputs, which are what their products sum over (arXiv 2309.13015, section on BDWP).
    So a convolution's groups lie within a tap, as in `models/torch_zoo/sparse_layers.py`.

    Parameters
    ----------
    b : Builder
    name : str
        Of the layer.
    outputs, inputs : int
    method : Method
        Of this layer: dense where it is an exception.
    wants_input : bool
        Whether the gradient of the layer's input is wanted.
    kernel : int
        Of a convolution, with ``kernel ** 2`` taps; 0 for a linear layer.
    """

    b: Builder
    name: str
    outputs: int
    inputs: int
    method: Method
    wants_input: bool
    kernel: int = 0
    weight: Tensor = field(init=False)
    forward: Tensor = field(init=False)
    backward: Tensor | None = field(init=False)

    def __post_init__(self) -> None:
        self.weight = self._floats("weight", Role.STATE)
        self.forward = self._forward(Role.STATE)
        self.backward = self._backward(Role.STATE) if self.wants_input else None

    @property
    def taps(self) -> int:
        """Matrices of (outputs, inputs)."""
        return max(1, self.kernel) ** 2

    @property
    def swapped(self) -> bool:
        """Whether a pruned gradient is what the array holds, and the weights pass by."""
        return self.gradient_nm is not None and not self.kernel

    @property
    def gradient_nm(self) -> NM | None:
        """N:M of the output's gradient in the product that gives the input's."""
        return fitting(self.method.gradient, self.outputs)

    def _forward(self, role: Role) -> Tensor:
        nm = fitting(self.method.forward, self.inputs)
        name = f"{self.name}.forward" + _suffix(role)
        rows = self.taps * self.outputs
        return self.b.step.tensor(name, rows, self.inputs, Kind.WEIGHTS, role, nm)

    def _backward(self, role: Role) -> Tensor:
        name = f"{self.name}.backward" + _suffix(role)
        rows = self.taps * self.inputs
        if self.swapped:
            return self.b.operands(name, rows, self.outputs, role)
        nm = fitting(self.method.backward, self.outputs)
        return self.b.step.tensor(name, rows, self.outputs, Kind.WEIGHTS, role, nm)

    def _floats(self, part: str, role: Role = Role.INNER) -> Tensor:
        """Enter a tensor of the weights' shape."""
        return self.b.floats(f"{self.name}.{part}", self.taps * self.outputs, self.inputs, role)

    def product(self, x: Ref) -> Term:
        """Return ``x @ W.T``, the forward product."""
        return Term(left=x, right=whole(self.forward), layout=Layout.WEIGHTS)

    def update(self, gradient: Tensor) -> None:
        """Append the update of the weights, and the packing of the new ones."""
        b, name = self.b, self.name
        seen_nm = fitting(self.method.forward, self.inputs)
        if self.method.decay and seen_nm is not None:
            # what the forward product did not see is pulled towards zero: decay * (w - seen)
            b.stage = "optimizer"
            seen = self._floats("seen")
            self._pack(seen.name, self.weight, nm=seen_nm, dense_out=seen)
            hidden = self._floats("hidden")
            b.work(hidden.name, seen, p=number(-1.0), q=full(self.weight), out=hidden)
            scale = b.optimiser.loss_scale * self.method.decay
            pulled = self._floats("pulled")
            b.work(pulled.name, hidden, p=number(scale), q=full(gradient), out=pulled)
            gradient = pulled
        new = update(b, f"{name}.weight", self.weight, gradient, decay=b.optimiser.decay)
        b.stage = "pregenerate"
        forward = self._forward(Role.NEXT)
        backward_of = new
        if self.method.name == "srste" and forward.nm is not None:
            backward_of = self._floats("pruned")
        dense_out = None if backward_of is new else backward_of
        self._pack(forward.name, new, nm=forward.nm, out=forward, dense_out=dense_out)
        if not self.wants_input:
            return
        backward = self._backward(Role.NEXT)
        if backward.kind == Kind.OPERAND:
            b.work(backward.name, backward_of, out=backward, transpose=True)
            return
        turned = b.floats(f"{name}.turned", self.taps * self.inputs, self.outputs)
        for tap in range(self.taps):
            b.work(
                turned.name,
                Ref(tensor=backward_of, row=tap * self.outputs, rows=self.outputs),
                out=Ref(tensor=turned, row=tap * self.inputs, rows=self.inputs),
                transpose=True,
            )
        self._pack(backward.name, turned, nm=backward.nm, out=backward)

    def _pack(
        self,
        name: str,
        a: Tensor,
        *,
        nm: NM | None,
        out: Tensor | None = None,
        dense_out: Tensor | None = None,
    ) -> None:
        dense = None if dense_out is None else whole(dense_out)
        stage = self.b.stage
        self.b.step.ops.append(
            Pack(name=name, stage=stage, a=whole(a), out=out, nm=nm, dense_out=dense)
        )


def _suffix(role: Role) -> str:
    return ".next" if role == Role.NEXT else ""
