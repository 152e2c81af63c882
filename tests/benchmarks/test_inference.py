"""The inference benchmark times what it says, in turns, and counts the frames of a video."""

from __future__ import annotations

import json
from fractions import Fraction
from pathlib import Path

import pytest
import torch
from detectron2.modeling import build_model
from detectron2.structures import Boxes, Instances
from numbered_video import write_numbered_video
from tiny import CONFIG, SMALLER, fake_input, tiny_cfg

from mestad_d2.benchmarks import inference as benchmark_inference
from mestad_d2.benchmarks import video as benchmark_video
from mestad_d2.benchmarks.mode_accuracy import differences
from mestad_d2.benchmarks.two_stage import FixedPeople, build_action_network, people
from mestad_d2.errors import UserError
from mestad_d2.inference import predictor
from mestad_d2.timing import ratio, time_interleaved


def test_functions_take_turns() -> None:
    calls: list[str] = []
    seconds = time_interleaved({"a": lambda: calls.append("a"), "b": lambda: calls.append("b")}, 2)
    assert "".join(calls) == "ab" + "ab" + "ba"
    assert [len(s) for s in seconds.values()] == [2, 2]


def test_ratio_is_of_one_round() -> None:
    # Each round is twice as slow as the one before; the ratio within it is always 3.
    assert ratio({"a": [3.0, 6.0, 12.0], "b": [1.0, 2.0, 4.0]}, "a", "b") == {
        "median": 3.0,
        "quartiles": [3.0, 3.0],
    }


def test_one_and_two_stages_classify_the_same_people() -> None:
    cfg = tiny_cfg()
    one = build_model(cfg).eval()
    two = build_action_network(cfg)
    two.backbone.load_state_dict(one.backbone.state_dict())
    two.roi_heads.load_state_dict(one.roi_heads.state_dict())
    one.proposal_generator = FixedPeople(one.proposal_generator, 3)
    inputs = fake_input([])
    found = one([inputs])[0]["instances"]
    given = two([{**inputs, "proposals": people(3, (64, 80), "cpu")}])[0]["instances"]
    assert len(found) == 3
    torch.testing.assert_close(found.pred_boxes.tensor, given.pred_boxes.tensor)
    torch.testing.assert_close(found.pred_actions, given.pred_actions)


def test_differences_pair_people_and_count_missing_ones() -> None:
    def found(boxes: list[list[float]], scores: list[float]) -> Instances:
        actions = torch.tensor(scores)[:, None] / 2
        return Instances(
            (10, 10), pred_boxes=Boxes(torch.tensor(boxes)), scores=torch.tensor(scores), pred_actions=actions
        )

    wanted = found([[0, 0, 4, 4], [5, 5, 9, 9], [0, 5, 4, 9]], [0.9, 0.8, 0.1])
    rows = differences(wanted, found([[0, 0, 4, 3]], [0.7]), sure=0.5)
    assert rows == [pytest.approx((0.25, 0.2, 0.1), abs=1e-6), (1.0, 1.0, 1.0)]


def test_a_video_end_to_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # The benchmark puts its counter there, for the whole of its process.
    monkeypatch.setattr(predictor, "iterate_frames", predictor.iterate_frames)
    write_numbered_video(tmp_path / "v.mp4", 75, Fraction(25))
    arguments = ["--config-file", str(CONFIG), "--video", str(tmp_path / "v.mp4"), "--opts", *SMALLER]
    figures = benchmark_video.run(benchmark_video.parse(arguments))
    assert (figures["frames"], figures["key_frames"], figures["people"]) == (75, 3, 6)
    assert figures["total_over_network"] > 0 and figures["peak_memory_mb"] > 50


def test_comparison_writes_its_figures(tmp_path: Path) -> None:
    output = tmp_path / "figures.json"
    arguments = [
        "--config-file",
        str(CONFIG),
        "--runs",
        "1",
        "--seconds",
        "0",
        "--no-compile",
        "--size",
        "64",
        "64",
    ]
    benchmark_inference.main([*arguments, "--output", str(output), "--opts", *SMALLER])
    comparison = json.loads(output.read_text())["comparison"]
    assert {"backbone, eager fp32", "detector, eager fp32"} < set(comparison["seconds_per_clip"])
    assert comparison["best"] in comparison["seconds_per_clip"]


def test_nonsense_is_a_clear_error(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no folder"):
        benchmark_inference.main(["--config-file", str(CONFIG), "--output", str(tmp_path / "a" / "b.json")])
    with pytest.raises(UserError, match="at least"):
        benchmark_inference.main(["--config-file", str(CONFIG), "--runs", "-1"])
