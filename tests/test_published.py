"""dataflow.published against sums that can be derived by hand from the network's sizes.

N = 129 tokens, D = 192, 12 layers of which 6 have 16 experts of 384, top 2, dense hidden 768.
"""

from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import pytest

from moesaic.dataflow import published_machine
from moesaic.dataflow.published import (
    Prediction,
    even_queues,
    main,
    predict_published,
    queues_of,
    sensitivity,
)
from moesaic.dataflow.published_machine import load_published
from moesaic.dataflow.published_stages import ATTENTION, GROUPS, LINEAR, Assumptions, Stage
from moesaic.models.errors import InputError
from moesaic.models.sample_networks import sample_images, sample_network

MACHINE = load_published()
PREDICTION = predict_published(MACHINE)
FEATURES = 129 * 192 * 4  # bytes of the token matrix
PASSES = 33  # ceil((129 + 3) / 4)


def stages(name: str, prediction: Prediction = PREDICTION) -> list[Stage]:
    return [stage for stage in prediction.stages if stage.name == name]


def test_macs_of_an_image() -> None:
    attention = 12 * (4 * 192 * 192 * 129 + 2 * 129 * 129 * 192)
    perceptrons = 12 * 2 * 192 * 768 * 129  # two experts of half the size do as many
    assert MACHINE.macs == attention + perceptrons + 6 * 16 * 192 * 129 + 128 * 768 * 192
    assert MACHINE.macs == 782_719_488


def test_all_weights_are_streamed_once() -> None:
    """Attention, dense perceptrons, experts, gates, biases and norms; positions have 32 bits."""
    words = 1_769_472 + 1_769_472 + 14_155_776 + 18_432 + 79_488
    read = sum(stage.reads.get("weights", 0) for stage in PREDICTION.stages)
    assert read == 2 * words + FEATURES


def test_unused_experts_are_not_loaded() -> None:
    half = predict_published(MACHINE, queues=even_queues(MACHINE, 8))
    read = [sum(s.reads.get("weights", 0) for s in p.stages) for p in (PREDICTION, half)]
    assert read[0] - read[1] == 6 * 8 * 2 * (2 * 192 * 384 + 384 + 192)


@pytest.mark.parametrize(("name", "bundle"), [("Q x K", "inout3"), ("M' x V", "inout2")])
def test_keys_and_values_come_again_for_each_four_queries(name: str, bundle: str) -> None:
    found = stages(name)
    assert len(found) == 12
    for stage in found:
        assert stage.compute == PASSES * 129 * 24 == 102_168
        assert stage.reads[bundle] == PASSES * FEATURES == 3_269_376
        assert stage.cycles == 64 + PASSES * FEATURES // 16
        assert stage.bound == bundle


def test_a_skewed_start_takes_another_pass() -> None:
    """128 tokens: the last of four queries begins at key 3, and ends at key 2 of the pass after."""
    assert replace(MACHINE, tokens=128).query_blocks == 33
    assert replace(MACHINE, tokens=128, slots=1).query_blocks == 128


def test_scores_go_out_and_come_back_padded() -> None:
    """Three heads are padded to four words of four bytes, for each of 33 * 4 query slots."""
    padded = PASSES * 129 * 4 * 16
    assert padded == 272_448
    assert {stage.writes["inout1"] for stage in stages("Q x K")} == {padded}
    assert {stage.reads["inout1"] for stage in stages("M' x V")} == {padded}
    assert {stage.writes["inout4"] for stage in stages("Q x K")} == {129 * 8 * 4}


@pytest.mark.parametrize("queues", [None, [129, 129] + [0] * 14, [65, 64, 40, 40, 49] + [0] * 11])
def test_linear_unit_does_256_macs_a_cycle(queues: list[int] | None) -> None:
    """Linears of attention, dense perceptrons and experts need equally many, however routed."""
    prediction = predict_published(MACHINE, queues=queues)
    cycles = sum(s.compute for s in prediction.stages if s.group == LINEAR)
    assert cycles == 3 * 228_261_888 // 256 == 3 * 891_648


def test_loads_and_products_add_up_outside_of_experts() -> None:
    (load, *_), (product, *_) = stages("load FC1"), stages("FC1")
    assert load.cycles == 64 + 192 * 768 * 2 // 16 + 64 + 768 * 2 // 16
    assert product.cycles == 64 + 129 * 12 * 48
    overlapped = predict_published(MACHINE, assumed=Assumptions(other_loads_overlap=True))
    assert stages("load FC2", overlapped)[0].cycles == 0
    # the norm in front, 14,496 cycles, hides most of it
    assert stages("load FC1", overlapped)[0].cycles == load.cycles - 14_496


def test_the_longer_of_load_and_product_counts_among_experts() -> None:
    """Two experts of 129 tokens are bound by products, sixteen of 16 by the port."""
    weights = 192 * 384 * 2 // 16
    assert weights == 9216
    expert = stages("expert 0 FC1")[0]
    assert expert.cycles == 2 * 64 + weights + 192 * 2 // 16
    assert expert.compute == 17 * 12 * 24 < weights
    assert expert.bound == "weights"
    full = predict_published(MACHINE, queues=[129, 129] + [0] * 14)
    assert stages("expert 0 FC1", full)[0].cycles == 64 + 129 * 12 * 24
    assert not stages("expert 2 FC1", full)
    last = stages("expert 15 FC2")[0]
    assert last.cycles == 64 + 16 * 12 * 24  # nothing is left to be loaded
    apart = predict_published(MACHINE, assumed=Assumptions(expert_loads_overlap=False))
    assert stages("expert 0 FC1", apart)[0].cycles == 64 + 17 * 12 * 24 + expert.cycles


def test_a_norm_waits_once_for_each_token() -> None:
    assert {s.cycles for s in stages("norm 1")} == {129 * (64 + 48) + 48}
    assert len(stages("norm 1")) == len(stages("norm 2")) == 12


def test_patch_embedding() -> None:
    (stage,) = stages("patch embedding")
    assert stage.compute == 8 * 3 * 16 * 8 * 24 == 128 * 768 * 192 // 256
    assert stage.cycles == 64 + stage.compute + (16 + 1) * 768 // 16


def test_no_port_moves_more_than_16_bytes_a_cycle() -> None:
    for stage in PREDICTION.stages:
        for size in (*stage.reads.values(), *stage.writes.values()):
            assert size <= 16 * stage.cycles, stage


def test_prediction_is_within_a_tenth_and_below() -> None:
    """What is left out (depths, responses) can only add; the routing is stated, not measured."""
    assert 0.90 < PREDICTION.ms / 34.64 < 1
    assert sum(PREDICTION.group_ms(group) for group in GROUPS) == pytest.approx(PREDICTION.ms)
    assert 0.47 < PREDICTION.group_ms(ATTENTION) / 34.64 < 0.50
    assert PREDICTION.bytes == pytest.approx(160e6, rel=0.005)


def test_sensitivity_has_the_right_signs() -> None:
    changes = {name: ms - PREDICTION.ms for name, ms in sensitivity(MACHINE)}
    for name, change in changes.items():
        assert (change > 0) == any(w in name for w in ("wait", "deliver", "128 cycles")), name
    # a pass that reads keys once is bound by its products: 102,168 cycles
    saved = 24 * (PASSES * FEATURES // 16 - 102_168)
    assert changes["keys and values kept on chip"] == pytest.approx(-saved / 300e3)


def test_port_share_is_exact() -> None:
    slow = predict_published(MACHINE, assumed=Assumptions(port_share=Fraction(9, 10)))
    size = PASSES * FEATURES
    assert stages("Q x K", slow)[0].cycles == 64 - (-size * 10 // (16 * 9))


def test_queues_may_differ_by_layer() -> None:
    layers = [even_queues(MACHINE, used) for used in (16, 8, 4, 2, 16, 16)]
    prediction = predict_published(MACHINE, queues=layers)
    assert len(stages("expert 3 FC1", prediction)) == 5
    assert len(stages("expert 15 FC1", prediction)) == 3


@pytest.mark.parametrize(
    ("queues", "message"),
    [
        ([16] * 16, "queues must hold 258 choices, not 256"),
        ([129, 129], "queues must be 16 lengths"),
        ([258] + [0] * 15, "lengths in 0..129"),
        ([even_queues(MACHINE)] * 5, "queues must be of 6 layers, not 5"),
    ],
    ids=["sum", "experts", "length", "layers"],
)
def test_bad_queues(queues: list[int], message: str) -> None:
    with pytest.raises(InputError, match=message):
        predict_published(MACHINE, queues=queues)


def test_bad_machines(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(InputError, match=r"used must be in 2\.\.16, not 1"):
        even_queues(MACHINE, 1)
    with pytest.raises(InputError, match="slots must be more than 0, not 0"):
        replace(MACHINE, slots=0)
    with pytest.raises(InputError, match="read_latency must be at least 0, not -1"):
        replace(MACHINE, read_latency=-1)
    with pytest.raises(InputError, match=r"tokens must be of type int, not 1\.5"):
        replace(MACHINE, tokens=1.5)  # type: ignore[arg-type]
    with pytest.raises(InputError, match="keys must go through a bundle"):
        replace(MACHINE, buffers={**MACHINE.buffers, "keys": "inout9"})
    with pytest.raises(InputError, match="must be one of edge-moe-2023, not 'nothing'"):
        load_published("nothing")
    monkeypatch.setattr(published_machine, "FOLDER", tmp_path)
    (tmp_path / "short.yaml").write_text("name: short\n")
    with pytest.raises(InputError, match="short: must hold name, image_channels"):
        load_published("short")


def test_every_constant_says_where_it_is_from() -> None:
    text = (published_machine.FOLDER / "edge-moe-2023.yaml").read_text()
    body = [line for line in text.splitlines() if ":" in line and not line.startswith("#")]
    shared = ("name", "linear_outputs", "ports", "  ")  # said on the line before, or of the group
    for line in body:
        sources = ("source", "paper", "platform", "as quoted")
        assert line.startswith(shared) or any(w in line.split("#")[-1] for w in sources), line


def test_the_page_about_it_is_current() -> None:
    page = (Path(__file__).parents[1] / "docs" / "comparison.md").read_text()
    assert f"**{PREDICTION.ms:.2f} ms**" in page
    for group in GROUPS:
        assert f"| {PREDICTION.group_ms(group):.2f} ms |" in page
    for _, ms in sensitivity(MACHINE):
        assert f"| {ms:.2f} | {ms - PREDICTION.ms:+.2f} |" in page


def test_queues_of_a_network() -> None:
    network = sample_network("experts", tokens=20, experts=5, depth=2, top=2)
    queues = queues_of(network, sample_images(network, 1)[0])
    assert [len(row) for row in queues] == [5, 5]
    assert [sum(row) for row in queues] == [40, 40]


def test_command_with_a_model_that_does_not_fit(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--routing", "moevit-mnist"]) == 2
    assert "queues must be of 6 layers, not 2" in capsys.readouterr().err


def test_command(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([]) == 0
    text = capsys.readouterr().out
    assert f"{PREDICTION.ms:.2f} ms" in text
    assert "34.64 ms" in text
    assert "expert FC1" in text
    assert main(["--stages"]) == 0
    assert "11 expert 15 FC2" in capsys.readouterr().out
