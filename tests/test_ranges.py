"""models.ranges against optimal clipping known in closed form, and against whole tensors."""

import numpy as np
import pytest

from moesaic.models import ranges
from moesaic.models.float_run import run_float
from moesaic.models.network_shapes import value_shapes
from moesaic.models.ranges import Range, clip_point, measure
from moesaic.models.sample_networks import FORMS, sample_images, sample_network


def drawn(kind: str) -> Range:
    rng = np.random.default_rng(3)
    sample = getattr(rng, kind)(size=1 << 15).astype(np.float32)
    return Range(low=float(sample.min()), high=float(sample.max()), sample=sample)


@pytest.mark.parametrize(
    ("kind", "bits", "optimum"),
    # Banner, Nahshan and Soudry 2019, "Post training 4-bit quantization", section 3: for 4 bits the
    # optimal clipping is at 2.55 deviations of the normal distribution and 5.03 b of Laplace's.
    # Theirs has 16 levels in the same width, ours 16 with one of them beyond: a little further out.
    [("standard_normal", 4, 2.55), ("laplace", 4, 5.03)],
    ids=["normal", "laplace"],
)
def test_mse_finds_the_optimum(kind: str, bits: int, optimum: float) -> None:
    assert 0.9 * optimum < clip_point(drawn(kind), bits, "mse") < 1.15 * optimum


def test_percentile_of_a_normal_distribution() -> None:
    assert 3.4 < clip_point(drawn("standard_normal"), 8, "percentile") < 3.85  # exactly 3.615


@pytest.mark.parametrize("method", ranges.METHODS)
def test_sixteen_bits_take_everything(method: str) -> None:
    values = drawn("laplace")
    assert clip_point(values, 16, method) == pytest.approx(1.25 * values.magnitude)


@pytest.mark.parametrize("method", ranges.METHODS)
@pytest.mark.parametrize("bits", [8, 16])
def test_zero_has_a_range(method: str, bits: int) -> None:
    zero = Range(low=0.0, high=0.0, sample=np.zeros(5, np.float32))
    assert 0.1 < clip_point(zero, bits, method) < 2


@pytest.mark.parametrize("form", FORMS)
def test_ranges_are_those_of_all_images(form: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Chunks of images change nothing but the last bits of the sums."""
    network = sample_network(form)
    images = sample_images(network, 7)
    monkeypatch.setattr(ranges, "CHUNK_VALUES", 3000)
    got = measure(network, value_shapes(network), images)
    tensors = run_float(network, images)
    assert got.keys() == tensors.keys() | {"block0.attn.scores"}
    for name, tensor in tensors.items():
        assert got[name].low == pytest.approx(float(tensor.min()), rel=1e-4, abs=1e-5)
        assert got[name].high == pytest.approx(float(tensor.max()), rel=1e-4, abs=1e-5)
        assert got[name].sample.std() == pytest.approx(float(tensor.std()), rel=0.2)


def test_samples_stay_small_and_see_every_place() -> None:
    network = sample_network("prenorm")
    images = sample_images(network, 1024)
    got = measure(network, value_shapes(network), images)["block0.norm1"]
    assert ranges.SAMPLE // 2 < got.sample.size < 2 * ranges.SAMPLE
    tensor = run_float(network, images)["block0.norm1"]
    assert got.sample.mean() == pytest.approx(float(tensor.mean()), abs=0.03)
