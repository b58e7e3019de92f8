"""The grids of parameters over which HLS units are compared, and how one grid is run."""

from collections.abc import Sequence
from pathlib import Path

from moesaic.hls_templates.attention import Attention
from moesaic.hls_templates.block import Block
from moesaic.hls_templates.gate import Gate
from moesaic.hls_templates.gelu import Gelu
from moesaic.hls_templates.layernorm import LayerNorm
from moesaic.hls_templates.product import ProductTile
from moesaic.hls_templates.render import programme
from moesaic.hls_templates.requantise import Requantise
from moesaic.hls_templates.select import Select
from moesaic.hls_templates.softmax import Softmax
from moesaic.hls_templates.unit import Unit
from moesaic.models.accel import NM
from moesaic.models.input_matrix import input_matrices
from moesaic.models.quantise import quantise
from moesaic.models.sample_networks import sample_images, sample_network
from moesaic.sim.csim import Outcome, compile_units, run_units, write_files

NM24, NM28, NM14, NM416 = NM(n=2, m=4), NM(n=2, m=8), NM(n=1, m=4), NM(n=4, m=16)


def sample_block(
    form: str = "prenorm",
    *,
    data_bits: int = 8,
    nm: NM | None = None,
    number: int = 0,
    **sizes: int,
) -> Block:
    """Return a block of a small network with three of its inputs."""
    network = sample_network(form, nm=nm, depth=2, tokens=10)
    graph = quantise(network, sample_images(network, 8), data_bits=data_bits)
    images = input_matrices(graph, network, sample_images(network, 3, seed=5))
    label = f"block{number}_int{data_bits}_{nm or 'dense'}".replace(":", "of")
    return Block(graph=graph, images=images, number=number, label=label, **sizes)


def grid(kind: str) -> list[Unit]:
    """Return the units of one kind that are compared."""
    units: dict[str, list[Unit]] = {
        "requantise": [
            Requantise(out_bits=8, channels=32, lanes=8),
            Requantise(out_bits=16, channels=13, lanes=4),
            Requantise(out_bits=24, channels=3, lanes=5),
        ],
        "gelu": [
            Gelu(wide_bits=16, channels=32, lanes=8),
            Gelu(wide_bits=24, channels=13, lanes=4),
        ],
        "softmax": [
            Softmax(data_bits=8, length=32, lanes=8),
            Softmax(data_bits=8, length=197, lanes=4),
            Softmax(data_bits=16, length=50, lanes=16),
            Softmax(data_bits=16, length=1, lanes=1),
        ],
        "layernorm": [
            LayerNorm(data_bits=8, channels=64, lanes=8),
            LayerNorm(data_bits=8, channels=13, lanes=4, to_wide=True),
            LayerNorm(data_bits=16, channels=192, lanes=16),
            LayerNorm(data_bits=16, channels=1, lanes=2, to_wide=True),
        ],
        "product": [
            ProductTile(data_bits=8, inputs=19, outputs=7, rows=8, columns=4),
            ProductTile(data_bits=16, inputs=32, outputs=4, rows=5, columns=1, epilogue="wide"),
            ProductTile(data_bits=8, inputs=24, outputs=6, nm=NM24, epilogue="add", columns=6),
            ProductTile(data_bits=16, inputs=30, outputs=5, nm=NM28, epilogue="gelu", rows=16),
            ProductTile(data_bits=8, inputs=16, outputs=3, nm=NM14, epilogue="gelu", rows=4),
            ProductTile(data_bits=16, inputs=40, outputs=4, nm=NM416, epilogue="add", rows=16),
        ],
        "gate": [
            Gate(data_bits=8, tokens=16, experts=8, top=2, lanes=8),
            Gate(data_bits=16, tokens=9, experts=16, top=4, banks=2, lanes=4),
            Gate(data_bits=8, tokens=5, experts=5, top=1, lanes=2, renormalise=True),
            Gate(data_bits=16, tokens=7, experts=33, top=3, banks=2, lanes=16, renormalise=True),
        ],
        "attention": [
            Attention(data_bits=8, tokens=10, channels=8, slots=4, lanes=4),
            Attention(data_bits=16, tokens=33, channels=6, slots=8, lanes=16),
            Attention(data_bits=8, tokens=3, channels=4, slots=5, lanes=2),
            Attention(data_bits=16, tokens=1, channels=3, slots=1, lanes=4),
        ],
        "select": [
            Select(numbers="int8", nm=NM24),
            Select(numbers="int16", nm=NM28),
            Select(numbers="fp16", nm=NM14),
            Select(numbers="bf16", nm=NM416),
            Select(numbers="fp32", nm=NM24),
        ],
        "block": [
            sample_block(data_bits=8),
            sample_block(data_bits=8, nm=NM28, number=1, lanes=8, slots=3),
            sample_block(data_bits=16, nm=NM14, rows=6, columns=3),
        ],
    }
    return units[kind]


def run(units: Sequence[Unit], folder: Path, flags: Sequence[str] = ()) -> Outcome:
    """Render units, compile them and run them on their vectors."""
    write_files(programme(units, seed=1), folder)
    return run_units(compile_units(folder, flags))
