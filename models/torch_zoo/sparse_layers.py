"""Sparse training of any network: its linear layers and convolutions are replaced in place."""

import torch
from torch import Generator, Tensor, nn

from moesaic.models.accel import NM
from moesaic.models.torch_zoo.masks import group_mask
from moesaic.models.torch_zoo.sparse_functions import SparseConv, SparseLinear, Step
from moesaic.models.training_method import LayerRule, MethodSpec, WeightLayer

FORWARD_DIM, BACKWARD_DIM = 1, 0  # of a weight: its inputs, its outputs


class _Pruning(nn.Module):
    """What both layers share: the rule, and masks that stay until they are refreshed."""

    weight: Tensor
    rule: LayerRule
    generator: Generator | None
    forward_mask: Tensor | None
    backward_mask: Tensor | None

    def prune(self, rule: LayerRule, generator: Generator | None) -> None:
        """Work by `rule` from now on."""
        self.rule, self.generator = rule, generator
        self.refresh()

    def refresh(self) -> None:
        """Choose the masks anew, by the magnitudes that the weights have now."""
        self.forward_mask = self._mask(self.rule.forward, FORWARD_DIM)
        self.backward_mask = self._mask(self.rule.backward, BACKWARD_DIM)
        if self.rule.shared:
            self.backward_mask = self.forward_mask

    def _mask(self, nm: NM | None, dim: int) -> Tensor | None:
        if nm is None:
            return None
        return group_mask(self.weight, nm.n, nm.m, dim).to(self.weight.dtype)

    def step(self) -> Step:
        """Return what this step prunes."""
        return Step(
            rule=self.rule,
            forward=self.forward_mask,
            backward=self.backward_mask,
            generator=self.generator,
        )


class PrunedLinear(_Pruning, nn.Linear):
    """A linear layer that trains by a :class:`LayerRule`: (..., inputs) to (..., outputs)."""

    def forward(self, x: Tensor) -> Tensor:
        """Multiply by the forward's weights."""
        result: Tensor = SparseLinear.apply(x, self.weight, self.bias, self.step())
        return result


class PrunedConv(_Pruning, nn.Conv2d):
    """A convolution that trains by a :class:`LayerRule`; zeros around, no groups, no dilation."""

    def forward(self, x: Tensor) -> Tensor:
        """Convolve with the forward's weights."""
        padding = [int(side) for side in self.padding]
        geometry = (list(self.stride), padding)
        result: Tensor = SparseConv.apply(x, self.weight, self.bias, self.step(), geometry)
        return result


class SparseTraining:
    """A network under a method: replaces the layers that have a rule, and keeps their masks.

    `layers` names the network's layers with weights in order (`weight_layers` of its sizes), from
    which the method's exceptions are taken. Parameters stay the same objects under the same names,
    so an optimiser may be made before or after. Draws of the weight update come from `seed`.
    """

    def __init__(
        self, model: nn.Module, spec: MethodSpec, layers: tuple[WeightLayer, ...], seed: int = 0
    ) -> None:
        self.spec = spec
        generator = torch.Generator().manual_seed(seed)
        self.layers: dict[str, PrunedLinear | PrunedConv] = {}
        for name, rule in spec.rules(layers).items():
            if rule != LayerRule():
                layer = _replaced(model.get_submodule(name))
                layer.prune(rule, generator)
                parent, _, own = name.rpartition(".")
                setattr(model.get_submodule(parent), own, layer)
                self.layers[name] = layer

    def begin(self, step: int) -> None:
        """Choose masks anew where `step`, counted from 0, is one that does; before its forward."""
        if step % self.spec.refresh == 0:
            self.refresh()

    def refresh(self) -> None:
        """Choose all masks by the weights as they are now."""
        for layer in self.layers.values():
            layer.refresh()

    @torch.no_grad()
    def forward_weights(self) -> dict[str, Tensor]:
        """Return what the forward multiplies by, for each layer that prunes it; masks made anew."""
        self.refresh()
        return {
            f"{name}.weight": layer.weight * layer.forward_mask
            for name, layer in self.layers.items()
            if layer.forward_mask is not None
        }


def _replaced(layer: nn.Module) -> PrunedLinear | PrunedConv:
    """Return a layer that trains by a rule and holds the parameters of `layer`."""
    new: PrunedLinear | PrunedConv
    if isinstance(layer, nn.Linear):
        new = PrunedLinear(layer.in_features, layer.out_features, bias=layer.bias is not None)
    elif isinstance(layer, nn.Conv2d):
        plain = layer.groups == 1 and layer.dilation == (1, 1) and layer.padding_mode == "zeros"
        if not plain or isinstance(layer.padding, str):
            raise ValueError(f"a convolution must be plain to be pruned, not {layer}")
        new = PrunedConv(
            layer.in_channels,
            layer.out_channels,
            (layer.kernel_size[0], layer.kernel_size[1]),
            stride=(layer.stride[0], layer.stride[1]),
            padding=(layer.padding[0], layer.padding[1]),
            bias=layer.bias is not None,
        )
    else:
        raise TypeError(f"only linear layers and convolutions are pruned, not {layer}")
    new.weight, new.bias = layer.weight, layer.bias
    return new.train(layer.training)
