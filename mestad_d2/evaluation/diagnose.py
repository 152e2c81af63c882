"""Explain an mAP of zero: try the usual mistakes and name the first that fits."""

from __future__ import annotations

import math
from bisect import bisect_left
from collections import Counter
from pathlib import PurePath

import numpy as np

from mestad_d2.boxes import pairwise_iou
from mestad_d2.evaluation.frame_map.matching import IOU_THRESHOLD
from mestad_d2.evaluation.frame_map.score import FrameMAP
from mestad_d2.evaluation.rows import Rows
from mestad_d2.formats.label_map import LabelMap

# Most pairs of boxes that are compared; more would not change the result.
_SAMPLE = 2000
# Timestamps of one frame that were rounded differently differ by less than this, in s.
SAME_MOMENT = 0.006
# A layout is named only if its boxes fit this many times as often as by chance, and as often as the boxes as written.
_CLEARLY = 4
# One or two matches may be coincidences.
_BELIEVED = 3
# A faulty file may still match a box by chance.
_LOW = 0.01


def explain_zero(
    result: FrameMAP, gt: Rows, det: Rows, label_map: LabelMap, from_files: bool = True
) -> str | None:
    """Give one sentence on the likely cause where mAP is zero or undefined, else None.

    Also for an mAP below one percent, if one of the usual mistakes fits.

    Args:
        result: what ``frame_map`` returned for ``gt``, ``det`` and ``label_map``.
        from_files: the detections were read from a file, which may have mistakes; False for those of the model being
            trained, whose ids, timestamps and layout are right.
    """
    if result.mAP > _LOW:
        return None
    if not len(gt):
        return "the ground truth has no boxes"
    if not len(det):
        return "there are no detections"
    if from_files:
        reasons = (
            _classes(gt, "ground truth", label_map),
            _frames(gt, det),
            _boxes(gt, det, label_map),
            _classes(det, "detections", label_map),
        )
        found = next((r for r in reasons if r), None)
    else:
        found = _classes(gt, "ground truth", label_map)
    return found or (_fallback(gt, det, from_files) if not result.mAP > 0 else None)


def frames_note(gt: Rows, det: Rows) -> str | None:
    """Say how many frames of two files differ, and whether rounded timestamps are the reason; None if all match."""
    named, found = set(gt.keys), set(det.keys)
    # Frames annotated as empty have no detections in a correct file either.
    annotated = {gt.keys[i] for i in np.unique(gt.frame)}
    without, unknown = annotated - found, found - named
    if not without and not unknown:
        return None
    text = (
        f"{len(without)} of {len(annotated)} annotated frames have no detections; "
        f"{len(unknown)} of {len(found)} frames of the detections are not in the ground truth"
    )
    gt_times = {video: sorted(times) for video, times in _times(gt).items()}
    near = []
    for key in unknown:
        video, time = key.rsplit(",", 1)
        times = gt_times.get(video, ())
        at = bisect_left(times, float(time))
        apart = min((abs(t - float(time)) for t in times[max(at - 1, 0) : at + 1]), default=SAME_MOMENT)
        if apart < SAME_MOMENT:
            near.append(apart)
    if near:
        text += (
            f"; {len(near)} of these differ from an annotated frame by less than {math.ceil(1000 * max(near))} ms: write "
            "the timestamps of both files with the same decimals"
        )
    return text


def _classes(rows: Rows, what: str, label_map: LabelMap) -> str | None:
    ids = np.unique(rows.actions)
    if np.isin(ids, list(label_map.names)).any():
        return None
    return f"no action id of the {what} ({few(ids.tolist())}) is in the label map ({few(label_map.names)})"


def _frames(gt: Rows, det: Rows) -> str | None:
    named = set(gt.keys)
    if any(key in named for key in det.keys):
        return None
    gt_times, det_times = _times(gt), _times(det)
    videos = [v for v in det_times if v in gt_times]
    if not videos:
        text = f"no video of the detections ({few(det_times)}) is in the ground truth ({few(gt_times)})"
        stems = {PurePath(v).stem for v in gt_times}
        if any(PurePath(v).stem in stems for v in det_times):
            text += "; the names differ in folder or extension only"
        return text
    text = "no detection lies on an annotated frame: the videos match, the timestamps don't"
    offset, count, share = _offset(gt_times, det_times, videos)
    # Any offset matches some frame; only the offset of AVA's cut films is accepted without further evidence.
    if share >= 0.5 and (count >= _BELIEVED or abs(offset) == 900):
        text += f"; adding {offset:g} s to those of the detections would match {100 * share:.0f} % of them"
    return text


def _times(rows: Rows) -> dict[str, set[float]]:
    times: dict[str, set[float]] = {}
    for key in rows.keys:
        video, time = key.rsplit(",", 1)
        times.setdefault(video, set()).add(float(time))
    return times


def _offset(
    gt: dict[str, set[float]], det: dict[str, set[float]], videos: list[str]
) -> tuple[float, int, float]:
    votes: Counter[float] = Counter()
    total = 0
    for video in videos[:20]:
        times = sorted(det[video])[:50]
        total += len(times)
        votes.update(round(g - t, 3) for t in times for g in sorted(gt[video])[:200])
    # Among equally good offsets the smallest is the most likely.
    offset, count = max(votes.items(), key=lambda v: (v[1], -abs(v[0])))
    return offset, count, count / total


def _boxes(gt: Rows, det: Rows, label_map: LabelMap) -> str | None:
    for rows, what in ((det, "detections"), (gt, "ground truth")):
        if len(rows) and np.median(rows.boxes.max(axis=1)) > 2:
            first = rows.boxes[0].tolist()
            return f"boxes of the {what} look like pixels ({first}); write fractions of width and height"
    frames = {key: i for i, key in enumerate(gt.keys)}
    order = np.argsort(gt.frame, kind="stable")
    found, heads = np.unique(gt.frame[order], return_index=True)
    by_frame = dict(zip(found.tolist(), np.split(order, heads[1:]), strict=True))
    shifts: Counter[int] = Counter()
    layouts: Counter[str] = Counter()
    by_chance: Counter[str] = Counter()
    chance = np.random.default_rng(0)
    looked_at = 0
    for row in np.linspace(0, len(det) - 1, min(len(det), _SAMPLE)).astype(int).tolist():
        others = by_frame.get(frames.get(det.keys[det.frame[row]], -1))
        if others is None:
            continue
        looked_at += 1
        x1, y1, x2, y2 = det.boxes[row].tolist()
        for name, box in {
            "x1,y1,x2,y2": (x1, y1, x2, y2),
            "y1,x1,y2,x2": (y1, x1, y2, x2),
            "x,y,width,height": (x1, y1, x1 + x2, y1 + y2),
        }.items():
            near = others[pairwise_iou(np.array([box]), gt.boxes[others])[0] >= IOU_THRESHOLD]
            layouts[name] += len(near) > 0
            # Boxes of another frame fit only by chance.
            stray = gt.boxes[chance.integers(0, len(gt), len(others))]
            by_chance[name] += bool((pairwise_iou(np.array([box]), stray) >= IOU_THRESHOLD).any())
            if name == "x1,y1,x2,y2":
                shifts.update(set((gt.actions[near] - det.actions[row]).tolist()))
    return (
        _shifted(shifts, det, label_map, looked_at)
        or _layout(layouts, by_chance, looked_at)
        or _truth_layout(gt, det, by_frame, frames)
    )


def _shifted(shifts: Counter[int], det: Rows, label_map: LabelMap, looked_at: int) -> str | None:
    if shifts[0] or not (shifts[1] or shifts[-1]):
        return None
    shift = 1 if shifts[1] >= shifts[-1] else -1
    if shifts[shift] * 2 < max(shifts.values()) or shifts[shift] < max(_BELIEVED, looked_at / 20):
        return None
    direction = "one too small" if shift == 1 else "one too large"
    lowest = f"the lowest is {det.actions.min()}, in the label map {min(label_map.names)}"
    return f"the action ids of the detections seem {direction} ({lowest})"


def _layout(layouts: Counter[str], by_chance: Counter[str], looked_at: int) -> str | None:
    name, count = max(layouts.items(), key=lambda v: v[1], default=("", 0))
    if name in ("", "x1,y1,x2,y2") or count * 20 < looked_at:
        return None
    if count < _CLEARLY * max(layouts["x1,y1,x2,y2"], by_chance[name], 1):
        return None
    return f"boxes of the detections seem to be written as {name}; write x1,y1,x2,y2"


def _truth_layout(gt: Rows, det: Rows, by_frame: dict[int, np.ndarray], frames: dict[str, int]) -> str | None:
    """Whether the ground truth fits the detections only when it is read as x, y, width, height."""
    as_written, as_sizes, looked_at = 0, 0, 0
    det_order = np.argsort(det.frame, kind="stable")
    found, heads = np.unique(det.frame[det_order], return_index=True)
    parts = dict(zip(found.tolist(), np.split(det_order, heads[1:]), strict=True))
    for number, rows in list(parts.items())[:_SAMPLE]:
        others = by_frame.get(frames.get(det.keys[number], -1))
        if others is None:
            continue
        looked_at += len(others)
        boxes, truth = det.boxes[rows], gt.boxes[others]
        sizes = np.hstack([truth[:, :2], truth[:, :2] + truth[:, 2:]])
        as_written += int((pairwise_iou(truth, boxes).max(axis=1) >= IOU_THRESHOLD).sum())
        as_sizes += int((pairwise_iou(sizes, boxes).max(axis=1) >= IOU_THRESHOLD).sum())
    if as_sizes * 5 < looked_at or as_sizes < _CLEARLY * max(as_written, 1):
        return None
    return "boxes of the ground truth seem to be written as x,y,width,height; write x1,y1,x2,y2"


def _fallback(gt: Rows, det: Rows, from_files: bool) -> str:
    shared = len(set(gt.keys) & set(det.keys))
    text = (
        f"on the {shared} frames that both name, no detection has IoU {IOU_THRESHOLD} "
        "with a ground-truth box of its class"
    )
    return text if from_files else f"{text}: the model has not learned to find these people and actions yet"


def few(values) -> str:
    values = list(values)
    text = ", ".join(map(str, values[:3]))
    return text + (", ..." if len(values) > 3 else "")
