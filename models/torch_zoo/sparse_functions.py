"""Linear layer and convolution whose three products prune on their own: see `training_method.py`.

The backward is no derivative of the forward: dX takes its own weights or a pruned gradient, dW goes
straight through the forward's mask. So a check of gradients must compute each product from the
operands that it is said to have.
"""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Generator, Tensor
from torch.autograd import Function
from torch.nn import functional

from moesaic.models.torch_zoo.masks import group_mask
from moesaic.models.torch_zoo.mvue import sample_along
from moesaic.models.training_method import LayerRule


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """What a layer's products prune in this step: a rule, masks of W, and what draws `update`.

    Masks have the weight's shape and type, 0 or 1; None is dense.
    """

    rule: LayerRule
    forward: Tensor | None = None
    backward: Tensor | None = None
    generator: Generator | None = None


def _masked(weight: Tensor, mask: Tensor | None) -> Tensor:
    return weight if mask is None else weight * mask


def pruned_gradient(grad: Tensor, rule: LayerRule, dim: int) -> Tensor:
    """Return G for dX: N of M stay along `dim`, the channels; (batch, ..., channels, ...).

    With `rescale`, what stays is scaled so that each image's channel keeps its sum of magnitudes
    over tokens or pixels (McDanel et al. 2022, section 3.2); a channel that lost all stays zero.
    A gradient without tokens or pixels is not scaled.
    """
    if rule.gradient is None:
        return grad
    kept = grad * group_mask(grad, rule.gradient.n, rule.gradient.m, dim)
    places = [d for d in range(1, grad.ndim) if d != dim % grad.ndim]
    if not rule.rescale or not places:
        return kept
    before, after = (x.abs().sum(places, keepdim=True) for x in (grad, kept))
    return kept * torch.where(after > 0, before / after, torch.zeros(()))


def _update_gradient(grad: Tensor, step: Step) -> Tensor:
    """Return G (tokens, outputs) for dW."""
    if step.rule.update is None:
        return grad
    if step.generator is None:
        raise ValueError("a sparse weight update must have a generator")
    return sample_along(grad, step.rule.update.n, step.rule.update.m, 0, step.generator)


def _weight_gradient(grad: Tensor, weight: Tensor, step: Step) -> Tensor:
    """Return dW with the decay of what the forward prunes (Zhou et al. 2021, equation 9)."""
    if step.rule.decay and step.forward is not None:
        return grad + step.rule.decay * (1 - step.forward) * weight
    return grad


class SparseLinear(Function):
    """``x @ (weight * forward).T + bias``; x (..., inputs), weight (outputs, inputs)."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor | None, step: Step) -> Tensor:
        """Multiply by the forward's weights."""
        ctx.save_for_backward(x, weight)
        ctx.step, ctx.has_bias = step, bias is not None
        return functional.linear(x, _masked(weight, step.forward), bias)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        """Return dX, dW, db; each product with its own operands."""
        (grad,), (x, weight), step = grads, ctx.saved_tensors, ctx.step
        rows = grad.reshape(-1, grad.shape[-1])
        to_x = to_bias = None
        if ctx.needs_input_grad[0]:
            to_x = pruned_gradient(grad, step.rule, -1) @ _masked(weight, step.backward)
        product = _update_gradient(rows, step).t() @ x.reshape(-1, x.shape[-1])
        if ctx.has_bias:
            to_bias = rows.sum(0)
        return to_x, _weight_gradient(product, weight, step), to_bias, None


class SparseConv(Function):
    """A convolution by ``weight * forward``; x (batch, inputs, height, width), stride 1 or more.

    The weight is (outputs, inputs, kernel, kernel); groups run along channels at each position.
    """

    @staticmethod
    def forward(
        ctx: Any,
        x: Tensor,
        weight: Tensor,
        bias: Tensor | None,
        step: Step,
        geometry: tuple[list[int], list[int]],
    ) -> Tensor:
        """Convolve with the forward's weights; `geometry` is stride and padding."""
        ctx.save_for_backward(x, weight)
        ctx.step, ctx.has_bias, ctx.geometry = step, bias is not None, geometry
        return functional.conv2d(x, _masked(weight, step.forward), bias, *geometry)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        """Return dX, dW, db; each product with its own operands."""
        (grad,), (x, weight), step = grads, ctx.saved_tensors, ctx.step

        def product(gradient: Tensor, weights: Tensor, which: int) -> Tensor:
            outputs = torch.ops.aten.convolution_backward(
                gradient,
                x,
                weights,
                None,
                *ctx.geometry,
                [1, 1],
                False,
                [0, 0],
                1,
                [which == 0, which == 1, False],
            )
            return outputs[which]

        to_x = to_bias = None
        if ctx.needs_input_grad[0]:
            to_x = product(pruned_gradient(grad, step.rule, 1), _masked(weight, step.backward), 0)
        sampled = grad
        if step.rule.update is not None:
            last = grad.permute(0, 2, 3, 1)
            rows = _update_gradient(last.reshape(-1, grad.shape[1]), step)
            sampled = rows.reshape(last.shape).permute(0, 3, 1, 2)
        to_weight = _weight_gradient(product(sampled, weight, 1), weight, step)
        if ctx.has_bias:
            to_bias = grad.sum((0, 2, 3))
        return to_x, to_weight, to_bias, None, None
