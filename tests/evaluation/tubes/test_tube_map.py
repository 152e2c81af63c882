"""Video-mAP and frame-mAP against a slow evaluator written from the words, on many random data sets."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mestad_d2.evaluation.tubes.frame_map import frame_map
from mestad_d2.evaluation.tubes.protocols import PROTOCOLS
from mestad_d2.evaluation.tubes.video_map import video_map
from mestad_d2.formats.tubes.records import Tubes, tubes_of
from tests.evaluation.tubes.slow_evaluator import slow_video_map

CLASSES = ("a", "b", "c")


def random_tubes(rng: np.random.Generator, count: int, gaps: bool, spread: int) -> Tubes:
    parts = []
    for _ in range(count):
        first, length = int(rng.integers(1, 8)), int(rng.integers(1, 9))
        frames = np.arange(first, first + length)
        if gaps and length > 2:
            frames = frames[rng.random(length) < 0.7]
            frames = frames if len(frames) else np.array([first])
        corner = rng.integers(0, spread, (len(frames), 2)) / 4
        size = rng.integers(0 if gaps else 4, 20, (len(frames), 2)) / 2
        boxes = np.concatenate([corner, corner + size], axis=1)
        score = float(rng.integers(1, 8)) / 8
        parts.append((int(rng.integers(0, 3)), int(rng.integers(0, 3)), score, frames, boxes))
    return tubes_of(("v", "w", "x"), parts)


@pytest.mark.parametrize("name", list(PROTOCOLS))
@given(seed=st.integers(0, 10**6), truths=st.integers(0, 8), found=st.integers(0, 12))
@settings(max_examples=25, deadline=None, database=None, derandomize=True)
def test_video_map(name: str, seed: int, truths: int, found: int) -> None:
    rng = np.random.default_rng(seed)
    rules = PROTOCOLS[name].video
    gaps = name == "ours"
    gt, det = random_tubes(rng, truths, gaps, 20), random_tubes(rng, found, gaps, 20)
    for threshold in (0.1, 0.5):
        result = video_map(gt, det, CLASSES, PROTOCOLS[name], {"t": (threshold,)}).thresholds["t"]
        slow = slow_video_map(gt, det, 3, rules, threshold)
        np.testing.assert_allclose(result.per_class, slow, atol=1e-6)


@pytest.mark.parametrize("name", ["ours", "act_core", "multisports", "gurkirt"])
def test_frames_are_tubes_of_one_frame(name: str) -> None:
    """Frame-mAP is video-mAP of one-frame tubes where each frame is a video of its own."""
    rng = np.random.default_rng(3)
    gt, det = random_tubes(rng, 40, False, 40), random_tubes(rng, 90, False, 40)
    protocol = PROTOCOLS[name]
    frames = frame_map(gt, det.as_frames(), CLASSES, protocol).thresholds["0.5"]

    def single(tubes: Tubes) -> Tubes:
        rows = tubes.as_frames()
        parts = [
            (int(v) * 20 + int(f), int(c), float(s), [1], b[None])
            for v, f, c, s, b in zip(rows.video, rows.frame, rows.label, rows.score, rows.boxes, strict=True)
        ]
        return tubes_of([str(i) for i in range(60)], parts)

    rules = replace(protocol.frame, time="present")
    if name == "gurkirt":
        pytest.skip("its frames are sorted frame by frame") if rules.order == "file" else None
        rules = replace(rules, order="video_score")
    video = video_map(single(gt), single(det), CLASSES, replace(protocol, video=rules), {"0.5": (0.5,)})
    np.testing.assert_allclose(frames.per_class, video.thresholds["0.5"].per_class, atol=1e-6)


def test_false_positives_on_frames_without_truth_count() -> None:
    gt = tubes_of(("v",), [(0, 0, 1.0, [1], np.array([[0, 0, 9, 9]]))])
    box = np.array([[0.0, 0, 9, 9]])
    elsewhere = tubes_of(("v",), [(0, 0, 0.9, [5], box), (0, 0, 0.5, [1], box)])
    assert frame_map(gt, elsewhere.as_frames(), ("a",), PROTOCOLS["ours"]).thresholds["0.5"].mean == 0.5


def test_a_gap_costs_its_frames_only_in_ours() -> None:
    box = np.array([[0.0, 0, 9, 9]])
    gt = tubes_of(("v",), [(0, 0, 1.0, np.arange(1, 11), np.repeat(box, 10, 0))])
    det = tubes_of(("v",), [(0, 0, 0.9, [1, 2, 3, 8, 9, 10], np.repeat(box, 6, 0))])
    thresholds = {"0.6": (0.6,), "0.61": (0.61,)}
    ours = video_map(gt, det, ("a",), PROTOCOLS["ours"], thresholds).thresholds
    assert (ours["0.6"].mean, ours["0.61"].mean) == (1.0, 0.0)
    assert ours["0.6"].error is None
    published = video_map(gt, det, ("a",), PROTOCOLS["multisports"], thresholds).thresholds
    assert "missing" in published["0.6"].error


def test_no_detections_and_no_truth() -> None:
    nothing = tubes_of(("v",), [])
    box = np.array([[0.0, 0, 9, 9]])
    one = tubes_of(("v",), [(0, 0, 1.0, [1], box)])
    for protocol in PROTOCOLS.values():
        assert video_map(one, nothing, ("a",), protocol).thresholds["0.5"].mean == 0
        assert not video_map(nothing, nothing, ("a",), protocol).thresholds["0.5"].error
        assert frame_map(one, nothing.as_frames(), ("a",), protocol).thresholds["0.5"].mean == 0
    assert np.isnan(video_map(nothing, one, ("a",), PROTOCOLS["ours"]).thresholds["0.5"].mean)


def test_boxes_without_area() -> None:
    """0 / 0 as a best overlap hides a ground truth that fits, in the published code; not in ours."""
    flat, real = np.array([[5.0, 5, 5, 5]]), np.array([[0.0, 0, 9, 9]])
    gt = tubes_of(
        ("v",), [(0, 0, 1.0, [1, 2], np.repeat(flat, 2, 0)), (0, 0, 1.0, [1, 2], np.repeat(real, 2, 0))]
    )
    det = tubes_of(
        ("v",), [(0, 0, 0.9, [1, 2], np.repeat(flat, 2, 0)), (0, 0, 0.8, [1, 2], np.repeat(real, 2, 0))]
    )
    figures = {
        name: (
            video_map(gt, det, ("a",), PROTOCOLS[name]).thresholds["0.5"].mean,
            frame_map(gt, det.as_frames(), ("a",), PROTOCOLS[name]).thresholds["0.5"].mean,
        )
        for name in PROTOCOLS
    }
    # The flat box is a false positive that outranks the other one; a pixel wide it is found.
    assert figures["ours"] == figures["multisports"] == pytest.approx((0.25, 0.25))
    assert figures["gurkirt"][1] == pytest.approx(0.25)
    assert figures["act_core"] == pytest.approx((1.0, 1.0))
    # The order of the ground truth matters where 0 / 0 comes first.
    worse = tubes_of(("v",), [(0, 0, 0.9, [1, 2], np.repeat(flat, 2, 0))])
    assert video_map(gt, worse, ("a",), PROTOCOLS["multisports"]).thresholds["0.2"].mean == 0
