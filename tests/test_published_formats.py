"""models.published_formats against the rules of the publication in Python's exact fractions."""

from dataclasses import replace
from fractions import Fraction
from math import floor, isqrt

import numpy as np
import pytest

from moesaic.models import gelu as our_gelu
from moesaic.models.errors import InputError
from moesaic.models.float_run import gelu as float_gelu
from moesaic.models.float_run import run_float
from moesaic.models.format_table import DATA_BITS, FORMATS, sqnr_table
from moesaic.models.network import (
    Embed,
    Gate,
    Linear,
    MeanPool,
    Network,
    Norm,
)
from moesaic.models.published_fixed import (
    ATTENTION_BIAS,
    BIAS,
    FEATURE,
    LINEAR_WEIGHT,
    ONE,
    PATCH_WEIGHT,
    Fixed,
    divide,
    exponential,
    gelu,
    gelu_table,
    root,
    softmax_statistics,
    wrap,
    wrapped,
)
from moesaic.models.published_formats import run_published
from moesaic.models.published_parameters import published_parameters
from moesaic.models.sample_networks import FORMS, sample_images, sample_network
from moesaic.models.segments import ONE as POINT_ONE
from moesaic.models.segments import to_fraction_bits
from moesaic.reports.formats import main
from tests.published_oracle import UNIT, gelu_of, oracle, power, statistics


def small_network(*, tokens: int = 6, top: int = 2) -> Network:
    """Return experts with two blocks of eight channels in each head."""
    return sample_network("experts", tokens=tokens, dim=32, heads=2, mlp=12, top=top)


@pytest.mark.parametrize(("tokens", "top"), [(6, 1), (13, 2)])
def test_every_layer_equals_the_oracle(tokens: int, top: int) -> None:
    network = small_network(tokens=tokens, top=top)
    images = sample_images(network, 3 - top)
    run = run_published(network, images)
    for place, image in enumerate(images):
        values = oracle(network, image)
        assert values.keys() == run.codes.keys()
        for name, rows in values.items():
            want = [[int(x / UNIT) for x in row] for row in rows]
            assert run.codes[name][place].tolist() == want, name


def test_wrapped_results_equal_the_oracle() -> None:
    """Weights near the limit and a large stream leave the range of features."""
    network = small_network(tokens=4)
    layers = tuple(
        replace(layer, weight=(12 * layer.weight).astype(np.float32))
        if isinstance(layer, Linear) and layer.name.endswith((".q", ".k", ".fc2", "head"))
        else replace(layer, table=200 * layer.table)
        if isinstance(layer, Embed)
        else replace(layer, gain=16 * layer.gain)
        if isinstance(layer, Norm)
        else layer
        for layer in network.layers
    )
    network = replace(network, layers=layers)
    images = sample_images(network, 1)
    run = run_published(network, images)
    values = oracle(network, images[0], until="block0.v")
    assert run.wraps["block0.norm1"] > 0 < run.wraps["block0.v"] + run.wraps["block0.q"]
    assert sum(run.saturations.values()) > 100
    for name in ("embed", "block0.norm1", "block0.q", "block0.v"):
        want = [[int(x / UNIT) for x in row] for row in values[name]]
        assert run.codes[name][0].tolist() == want, name


def test_formats() -> None:
    """Widths and ranges of the publication: least step and largest magnitude of each."""
    assert (FEATURE.fraction_bits, FEATURE.bits) == (22, 32)
    for fixed, step, largest in (
        (LINEAR_WEIGHT, 2.0**-14, 2),
        (PATCH_WEIGHT, 2.0**-16, 0.5),
        (ATTENTION_BIAS, 2.0**-9, 64),
        (BIAS, 2.0**-11, 16),
    ):
        values = np.array(
            [-largest, largest - step, largest, -largest - step, 1.5 * step, -step / 4]
        )
        codes, outside = fixed.encode(values)
        assert (codes * step).tolist() == [
            -largest,
            largest - step,
            largest - step,
            -largest,
            step,
            -step,
        ]
        assert outside == 2
    assert Fixed(bits=8, integer_bits=8).encode(np.array([0.6, 2.5, -0.4]), nearest=True)[
        0
    ].tolist() == [1, 2, 0]


def test_wrap() -> None:
    x = np.array([0, 2**31 - 1, 2**31, -(2**31), -(2**31) - 1, 3 * 2**32 + 5])
    assert wrap(x).tolist() == [0, 2**31 - 1, -(2**31), -(2**31), 2**31 - 1, 5]
    assert wrapped(x) == 3


def test_functions_round_down() -> None:
    rng = np.random.default_rng(0)
    small = np.concatenate([[0, -1, -ONE, -(2**31)], -rng.integers(0, 20 * ONE, 300)])
    for x, y in zip(small.tolist(), exponential(small).tolist(), strict=True):
        assert y == floor(power(x * UNIT) / UNIT)
    assert exponential(np.array([600 * ONE])).tolist() == [2**31 - 1]
    large = np.concatenate([[1, 2, 3, 4, 2**31 - 1], rng.integers(1, 2**31, 300)])
    for x, y, z in zip(
        large.tolist(), root(large).tolist(), divide(ONE, large).tolist(), strict=True
    ):
        assert y == isqrt(x << 22)
        assert z == floor(Fraction(ONE * ONE, x))


def test_gelu_table_is_that_of_its_definition() -> None:
    """By another road: the series of 96 bits behind the point from which our own table is made."""
    table = gelu_table()
    assert len(table) == 177
    for i, entry in enumerate(table.tolist()):
        assert entry == to_fraction_bits(our_gelu._delta(i * POINT_ONE // 32), 22)
    assert table.max() == table[24] == round(0.16997051239013672 * ONE)  # the source's largest
    assert table[-1] == 0


def test_gelu_errors_are_those_of_interpolation() -> None:
    x = np.arange(-8 * ONE, 8 * ONE, 997)
    error = gelu(x) / ONE - float_gelu(x / ONE)
    assert 9.6e-5 < np.abs(error).max() < 9.8e-5
    assert 1.8e-5 < float(np.sqrt((error**2).mean())) < 2.0e-5
    for code in x[::5000].tolist():
        assert int(gelu(np.array([code]))[0]) == int(gelu_of(code * UNIT) / UNIT)


def test_softmax_depends_on_where_a_row_begins() -> None:
    """Within units of 2**-22, so that the skewed start of the slots is part of the numerics."""
    scores = np.random.default_rng(3).integers(-4 * ONE, 4 * ONE, (8, 50))
    rows = [statistics([x * UNIT for x in row]) for row in scores.tolist()]
    total, bias, wraps = softmax_statistics(scores, np.zeros(8, dtype=np.int64))
    assert total.tolist() == [int(s / UNIT) for s, _ in rows]
    assert bias.tolist() == scores.max(axis=1).tolist()
    assert not wraps
    turned, _, _ = softmax_statistics(scores, np.arange(8) % 4)
    assert 0 < np.abs(turned - total).max() < 100


def test_saturated_parameters_are_counted() -> None:
    network = small_network()
    found = run_published(network, sample_images(network, 1)).saturations
    (patches,) = (layer for layer in network.layers if layer.name == "patches")
    assert isinstance(patches, Linear)
    codes = np.floor(patches.weight.astype(np.float64) * 65536)
    assert found["patches"] == int(((codes < -32768) | (codes > 32767)).sum()) > 0
    assert "block0.q" not in found


def fitting(network: Network) -> Network:
    """Return a network whose patch embedding does not saturate."""
    layers = tuple(
        replace(layer, weight=(layer.weight / 8).astype(np.float32))
        if isinstance(layer, Linear) and layer.name == "patches"
        else layer
        for layer in network.layers
    )
    return replace(network, layers=layers)


@pytest.mark.parametrize("form", [*FORMS, "experts"])
def test_near_float(form: str) -> None:
    network = fitting(sample_network(form))
    images = sample_images(network, 3)
    exact = run_float(network, images.astype(np.float64))
    run = run_published(network, images)
    nearest = run_published(network, images, nearest=True)
    assert not run.wraps
    assert not run.saturations
    for layer in network.layers:
        found = run.value(layer.name)
        assert found.shape == exact[layer.name].shape
        if isinstance(layer, MeanPool | Embed | Gate):
            assert np.abs(found - exact[layer.name]).max() < 1e-2
    last = network.layers[-1].name
    power_of = [float(((r.value(last) - exact[last]) ** 2).mean()) for r in (run, nearest)]
    assert power_of[1] < power_of[0] < 1e-4


def test_most_of_the_error_is_that_of_parameters() -> None:
    """In float64 the same parameters lose as much; the arithmetic alone is far more exact."""
    network = fitting(sample_network("pooled", dim=24, depth=2))
    images = sample_images(network, 3)
    exact = run_float(network, images.astype(np.float64))["block1.add2"]
    parameters = run_float(published_parameters(network), images.astype(np.float64))["block1.add2"]
    found = run_published(network, images).value("block1.add2")
    errors = [float(((x - y) ** 2).mean()) for x, y in ((found, exact), (found, parameters))]
    assert 1e-6 < errors[0] < 1e-3
    assert 1e-10 < errors[1] < errors[0] / 1000


def test_what_has_no_published_format() -> None:
    network = small_network()
    layers = tuple(
        replace(layer, renormalise=True) if isinstance(layer, Gate) else layer
        for layer in network.layers
    )
    with pytest.raises(InputError, match="renormalised gates have no published format"):
        run_published(replace(network, layers=layers), sample_images(network, 1))
    with pytest.raises(InputError, match="images must be numbers of shape"):
        run_published(network, np.zeros((1, 2, 3)))


def test_table() -> None:
    network = sample_network("experts", tokens=20, dim=24, heads=3, mlp=32)
    rows = sqnr_table(network, sample_images(network, 8))
    assert [row.name for row in rows] == [layer.name for layer in network.layers]
    by_name = {row.name: row for row in rows}
    assert by_name["block0.add1"].sqnr_db.keys() == set(FORMATS)
    assert by_name["block0.experts"].sqnr_db.keys() == set(FORMATS) - DATA_BITS.keys()
    assert by_name["block0.gate"].rerouted.keys() == set(FORMATS)
    assert not by_name["block0.add2"].rerouted
    stream = by_name["block0.norm1"].sqnr_db
    assert 30 < stream["W8A8"] < 50
    assert 70 < stream["W16A16"] < 100
    assert by_name["patches"].saturations > 0
    assert sum(row.wraps for row in rows) == 0


def test_command(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["vit-mnist", "--stream"]) == 0
    text = capsys.readouterr().out
    assert (
        "| layer | kind | W16A32 dB | W16 alone dB | W16A32 nearest dB | W16A16 dB | W8A8 dB |"
        in text
    )
    assert "| head | Linear |" in text
    assert "W16A32 wraps: 0" in text
    assert "norm1" not in text
    assert main(["no-such-model"]) == 2
    assert "MODEL must be one of" in capsys.readouterr().err
