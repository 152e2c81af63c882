"""Each usual mistake, planted in sound detections, is the one that is named."""

from __future__ import annotations

import numpy as np
import pytest

from mestad_d2.evaluation.diagnose import explain_zero, frames_note
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


@pytest.mark.parametrize("seed", range(5))
def test_random_boxes_are_no_layout(seed: int) -> None:
    rng = np.random.default_rng(seed)
    low = rng.uniform(0, 0.8, (420, 2))
    boxes = np.hstack([low, low + rng.uniform(0.02, 0.5, (420, 2))])
    keys = _keys()[:20]
    gt = make_rows(keys, BOXES[:20], ACTIONS[:20])
    det = make_rows([keys[i % 20] for i in range(420)], boxes, np.full(420, 24), rng.random(420))
    result = frame_map(gt, det, LABELS)
    said = explain_zero(result, gt, det, LABELS)
    assert result.mAP == 0 and "no detection has IoU 0.5" in said
    # Of what the model itself has found nobody wrote a file wrongly.
    own = explain_zero(result, gt, det, LABELS, from_files=False)
    assert own.startswith("on the 20 frames") and "has not learned" in own


def test_the_trainers_own_boxes_are_never_called_wrongly_written() -> None:
    sizes = np.hstack([BOXES[:, :2], BOXES[:, 2:] - BOXES[:, :2]])
    gt, det = make_rows(_keys(), BOXES, ACTIONS), make_rows(_keys(), sizes, ACTIONS - 1)
    said = explain_zero(frame_map(gt, det, LABELS), gt, det, LABELS, from_files=False)
    assert "has not learned" in said


def test_ground_truth_as_corner_and_size_is_named() -> None:
    far = BOXES + [0.3, 0.3, 0.3, 0.3]
    gt, det = (
        make_rows(_keys(), np.hstack([far[:, :2], far[:, 2:] - far[:, :2]]), ACTIONS),
        make_rows(_keys(), far, ACTIONS),
    )
    said = explain_zero(_Zero(), gt, det, LABELS)
    assert "ground truth seem to be written as x,y,width,height" in said


class _Zero:
    """A result of 0: inverted ground truth is refused before there is one."""

    mAP = 0.0


def test_one_coincidence_is_no_reason() -> None:
    gt = make_rows(["a,1.000000", "a,2.000000"], BOXES[:2], [4, 4])
    det = make_rows(["a,1.000000", "a,2.000000"], [BOXES[0], BOXES[1] * 0.1], [3, 3], [0.5, 0.6])
    assert "no detection has IoU 0.5" in explain_zero(frame_map(gt, det, LABELS), gt, det, LABELS)
    det = make_rows(["a,41.000000", "a,77.000000"], BOXES[:2], [4, 4], [0.5, 0.6])
    said = explain_zero(frame_map(gt, det, LABELS), gt, det, LABELS)
    assert "the timestamps don't" in said and "adding" not in said


def test_frames_that_do_not_meet_are_counted() -> None:
    gt = make_rows(["a,0.000000", "a,0.167000", "a,0.333000", "b,1.000000"], BOXES[:4], ACTIONS[:4])
    det = make_rows(["a,0.000000", "a,0.166667", "a,0.333333", "c,1.000000"], BOXES[:4], ACTIONS[:4])
    assert frames_note(gt, det) == (
        "3 of 4 annotated frames have no detections; 3 of 4 frames of the detections are not in the ground truth; "
        "2 of these differ from an annotated frame by less than 1 ms: write the timestamps of both files with the same "
        "decimals"
    )
    coarse = make_rows(["a,0.000000", "a,0.169500", "a,0.331500", "b,1.000000"], BOXES[:4], ACTIONS[:4])
    assert "2 of these differ from an annotated frame by less than 3 ms" in frames_note(gt, coarse)
    other = make_rows(["a,0.000000", "a,0.200000"], BOXES[:2], ACTIONS[:2])
    assert "differ" not in frames_note(gt, other)
    assert frames_note(gt, gt) is None


def test_silent_on_a_figure_above_zero() -> None:
    assert _explain() is None


def test_no_ground_truth() -> None:
    gt, det = make_rows([], [], []), make_rows(_keys(), BOXES, ACTIONS)
    assert explain_zero(frame_map(gt, det, LABELS), gt, det, LABELS) == "the ground truth has no boxes"


def test_ground_truth_of_other_classes() -> None:
    gt, det = make_rows(_keys(), BOXES, ACTIONS + 50), make_rows(_keys(), BOXES, ACTIONS)
    said = explain_zero(frame_map(gt, det, LABELS), gt, det, LABELS)
    assert "no action id of the ground truth (51, 54, 57, ...) is in the label map (1, 2, 3, ...)" in said
