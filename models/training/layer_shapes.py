"""Layers of five networks at the sizes that sparse training is measured with.

Sizes are those of the networks' publications at the image sizes of arXiv 2309.13015's data sets; a
layer is listed once with how often it comes.
"""

from dataclasses import dataclass

from moesaic.models.errors import InputError


@dataclass(frozen=True, slots=True, kw_only=True)
class LayerShape:
    """One layer; an image goes in with `size` by `size` pixels, or `tokens` rows.

    Parameters
    ----------
    name : str
    inputs, outputs : int
        Channels.
    kernel, stride, size : int
        Of a convolution; kernel 1 is a linear layer on the pixels that it reads.
    padded : bool
        Whether zeros lie around the image, ``kernel // 2`` of them.
    tokens : int
        Rows of an image in a linear layer; 0 for a convolution.
    count : int
        How often the network has it.
    first : bool
        The network's first layer: dense, and nobody wants its input's gradient. Its input is laid
        out as patches of ``kernel ** 2 * inputs`` channels by the host, as a transformer's is.
    sparse : bool
        Whether a method prunes it: neither the first layer nor the classifier.
    heads : int
        Of an attention, whose four products for each head and image are dense.
    """

    name: str
    inputs: int
    outputs: int
    kernel: int = 1
    stride: int = 1
    size: int = 0
    padded: bool = True
    tokens: int = 0
    count: int = 1
    first: bool = False
    sparse: bool = True
    heads: int = 0

    @property
    def out_size(self) -> int:
        """Lines of an image that comes out."""
        if self.padded:
            return -(-self.size // self.stride)
        return (self.size - self.kernel) // self.stride + 1

    @property
    def rows(self) -> int:
        """Rows of an image that comes out."""
        return self.tokens or self.out_size**2

    @property
    def channels(self) -> int:
        """Input values of a result, for each of its channels."""
        return self.inputs * self.kernel**2

    @property
    def macs(self) -> int:
        """Multiply-accumulates of the forward pass of one image, dense."""
        if self.heads:
            return 2 * self.tokens**2 * self.inputs
        return self.rows * self.channels * self.outputs

    @property
    def products(self) -> int:
        """Passes of a step that have as many: forward, input's gradient, weights' gradient."""
        return 2 if self.first else 3


def _conv(name: str, inputs: int, outputs: int, size: int, **more: int) -> LayerShape:
    return LayerShape(
        name=name,
        inputs=inputs,
        outputs=outputs,
        size=size,
        kernel=more.get("kernel", 3),
        stride=more.get("stride", 1),
        count=more.get("count", 1),
        padded=bool(more.get("padded", 1)),
        first=bool(more.get("first", 0)),
        sparse=not more.get("first", 0),
    )


def _head(inputs: int, classes: int) -> LayerShape:
    return LayerShape(name="head", inputs=inputs, outputs=classes, tokens=1, sparse=False)


def _resnet9() -> list[LayerShape]:
    """He et al.'s blocks in nine layers, as SDGP (arXiv 2202.00774) has them; 32 by 32 pixels."""
    return [
        _conv("stem", 3, 128, 32, first=1),
        _conv("down", 128, 256, 32, kernel=5, stride=2),
        _conv("residual1", 256, 256, 16, count=2),
        _conv("widen", 256, 512, 16),
        _conv("residual2", 512, 512, 8, count=2),
        _conv("narrow", 512, 256, 8, padded=0),
        _head(256, 10),
    ]


def _vgg19() -> list[LayerShape]:
    """Simonyan and Zisserman's configuration E with one linear layer; 32 by 32 pixels."""
    out, inputs, size = [], 3, 32
    for stage, (outputs, count) in enumerate(((64, 2), (128, 2), (256, 4), (512, 4), (512, 4)), 1):
        out.append(_conv(f"stage{stage}.1", inputs, outputs, size, first=int(stage == 1)))
        out.append(_conv(f"stage{stage}.2", outputs, outputs, size, count=count - 1))
        inputs, size = outputs, size // 2
    return [*out, _head(512, 100)]


def _resnet18() -> list[LayerShape]:
    """He et al.'s ResNet18 with a 3 by 3 stem; 64 by 64 pixels."""
    out, inputs, size = [_conv("stem", 3, 64, 64, first=1)], 64, 64
    out.append(_conv("stage1", 64, 64, 64, count=4))
    for stage, outputs in enumerate((128, 256, 512), 2):
        out.append(_conv(f"stage{stage}.1", inputs, outputs, size, stride=2))
        out.append(_conv(f"stage{stage}.short", inputs, outputs, size, kernel=1, stride=2))
        size //= 2
        out.append(_conv(f"stage{stage}.2", outputs, outputs, size, count=3))
        inputs = outputs
    return [*out, _head(512, 200)]


def _resnet50() -> list[LayerShape]:
    """He et al.'s ResNet50, the stride in the 3 by 3 layer; 224 by 224 pixels."""
    out, inputs, size = [_conv("stem", 3, 64, 224, kernel=7, stride=2, first=1)], 64, 56
    for stage, (middle, blocks) in enumerate(((64, 3), (128, 4), (256, 6), (512, 3)), 1):
        outputs, stride = 4 * middle, 1 if stage == 1 else 2
        name = f"stage{stage}"
        out.append(_conv(f"{name}.first", inputs, middle, size, kernel=1))
        if stride == 2:
            out.append(_conv(f"{name}.down", middle, middle, size, stride=2))
        out.append(_conv(f"{name}.short", inputs, outputs, size, kernel=1, stride=stride))
        size //= stride
        rest = blocks if stride == 1 else blocks - 1
        out.append(_conv(f"{name}.middle", middle, middle, size, count=rest))
        out.append(_conv(f"{name}.last", middle, outputs, size, kernel=1, count=blocks))
        out.append(_conv(f"{name}.reduce", outputs, middle, size, kernel=1, count=blocks - 1))
        inputs = outputs
    return [*out, _head(2048, 1000)]


def _vit() -> list[LayerShape]:
    """A transformer of 6 blocks of 512 channels, MLP of 512, patches of 4; 32 by 32 pixels."""

    def linear(name: str, count: int) -> LayerShape:
        return LayerShape(name=name, inputs=512, outputs=512, tokens=65, count=count)

    return [
        LayerShape(name="embed", inputs=48, outputs=512, tokens=64, first=True, sparse=False),
        linear("qkv and projection", 24),
        LayerShape(name="attention", inputs=512, outputs=512, tokens=65, count=6, heads=8),
        linear("mlp", 12),
        _head(512, 100),
    ]


NETWORKS = {
    "resnet9": _resnet9,
    "vit": _vit,
    "vgg19": _vgg19,
    "resnet18": _resnet18,
    "resnet50": _resnet50,
}


def network_layers(name: str) -> list[LayerShape]:
    """Return the layers of one network; InputError names those that there are."""
    if name not in NETWORKS:
        raise InputError(f"network must be one of {', '.join(NETWORKS)}, not {name!r:.40}")
    return NETWORKS[name]()


def macs_of_step(layers: list[LayerShape], kept: float = 1.0) -> float:
    """Return the multiply-accumulates of a step of one image; pruned ones keep `kept` of them.

    BDWP prunes forward and input's gradient of the layers that are `sparse`; the weights' gradient
    is dense.
    """
    total = 0.0
    for layer in layers:
        pruned = kept if layer.sparse and not layer.heads else 1.0
        share = 1 + 2 * pruned if layer.products == 3 else 2
        total += layer.count * layer.macs * share
    return total
