"""Each usual mistake, planted in sound detections, is the one that is named."""

from __future__ import annotations

import numpy as np
import pytest

from mestad_d2.evaluation.diagnose import explain_zero
from mestad_d2.evaluation.frame_map.score import frame_map
from mestad_d2.evaluation.rows import make_rows
from mestad_d2.formats.label_map import LabelMap

LABELS = LabelMap({i: f"class {i}" for i in range(1, 25)})
RNG = np.random.default_rng(0)
N = 200
LOW = RNG.uniform(0.1, 0.6, (N, 2))
BOXES = np.concatenate([LOW, LOW + RNG.uniform(0.1, 0.4, (N, 2))], axis=1)
# Like people's own data: only a few of the map's ids occur.
ACTIONS = RNG.choice([1, 4, 7, 11], N)
VIDEOS = [f"video{i // 20}" for i in range(N)]
TIMES = np.arange(N) % 20 + 902.0


def _keys(videos: list[str] = VIDEOS, times: np.ndarray = TIMES) -> list[str]:
    return [f"{v},{t:.6f}" for v, t in zip(videos, times, strict=True)]


def _explain(keys=None, boxes=BOXES, actions=ACTIONS, gt_boxes=BOXES, n: int = N) -> str | None:
    gt = make_rows(_keys(), gt_boxes, ACTIONS)
    det = make_rows((keys or _keys())[:n], boxes[:n], actions[:n], np.linspace(0, 1, n))
    return explain_zero(frame_map(gt, det, LABELS), gt, det, LABELS)


@pytest.mark.parametrize(
    "mistake, said",
    [
        ({"n": 0}, "there are no detections"),
        ({"actions": ACTIONS - 1}, "ids of the detections seem one too small"),
        ({"actions": ACTIONS + 1}, "ids of the detections seem one too large"),
        ({"actions": ACTIONS + 100}, "no action id of the detections"),
        ({"boxes": BOXES * [340, 256, 340, 256]}, "boxes of the detections look like pixels"),
        ({"gt_boxes": BOXES * [340, 256, 340, 256]}, "boxes of the ground truth look like pixels"),
        ({"boxes": BOXES[:, [1, 0, 3, 2]]}, "written as y1,x1,y2,x2"),
        ({"boxes": np.hstack([BOXES[:, :2], BOXES[:, 2:] - BOXES[:, :2]])}, "written as x,y,width,height"),
        ({"keys": _keys([v + ".mp4" for v in VIDEOS])}, "differ in folder or extension only"),
        ({"keys": _keys([v + "x" for v in VIDEOS])}, "no video of the detections (video0x, video1x"),
        ({"keys": _keys(times=TIMES - 900)}, "adding 900 s to those of the detections would match 100 %"),
        ({"keys": _keys(times=TIMES * 30 + 1e5)}, "the timestamps don't"),
        ({"boxes": np.roll(BOXES, 61, axis=0) * 0.05}, "no detection has IoU 0.5"),
    ],
)
def test_mistake_is_named(mistake: dict, said: str) -> None:
    if "y1,x1" in said:
        # Flat boxes, since square ones overlap with their own mirror.
        flat = BOXES * [1, 0.1, 1, 0.1]
        mistake = {"gt_boxes": flat, "boxes": flat[:, [1, 0, 3, 2]]}
    assert said in _explain(**mistake)


def test_silent_on_a_figure_above_zero() -> None:
    assert _explain() is None


def test_no_ground_truth() -> None:
    gt, det = make_rows([], [], []), make_rows(_keys(), BOXES, ACTIONS)
    assert explain_zero(frame_map(gt, det, LABELS), gt, det, LABELS) == "the ground truth has no boxes"


def test_ground_truth_of_other_classes() -> None:
    gt, det = make_rows(_keys(), BOXES, ACTIONS + 50), make_rows(_keys(), BOXES, ACTIONS)
    said = explain_zero(frame_map(gt, det, LABELS), gt, det, LABELS)
    assert "no action id of the ground truth (51, 54, 57, ...) is in the label map (1, 2, 3, ...)" in said
