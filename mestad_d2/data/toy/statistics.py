"""What is in a toy dataset, counted from its label files: the figures of docs/toy.md.

``python -m mestad_d2.data.toy.statistics datasets/toy`` prints them.
"""

from __future__ import annotations

import json
import sys
from collections import defaultdict
from pathlib import Path

import numpy as np

from mestad_d2.data.toy.actions import MOTION_ONLY, TOY_ACTIONS
from mestad_d2.errors import one_line_errors
from mestad_d2.formats.ava_csv import AnnotationRow, read_ground_truth

Tracks = dict[tuple[str, int], dict[float, tuple[tuple, frozenset[int]]]]


def tracks_of(rows: list[AnnotationRow]) -> Tracks:
    """Return (video, person) -> time -> (box, set of actions), in order of time."""
    actions: dict[tuple, set[int]] = defaultdict(set)
    for row in rows:
        actions[row.video_id, row.person_id, row.timestamp, row.box].add(row.action_id)
    tracks: Tracks = defaultdict(dict)
    for (video, person, time, box), ids in sorted(actions.items()):
        tracks[video, person][time] = (box, frozenset(ids))
    return tracks


def unchanged_share(tracks: Tracks, delay: float) -> float:
    """Return the share of moments after which a person's actions are the same ``delay`` seconds later."""
    same = total = 0
    for track in tracks.values():
        times = np.array(list(track))
        later = np.searchsorted(times, times + delay - 1e-3)
        for time, index in zip(times, later, strict=True):
            if index < len(times) and abs(times[index] - time - delay) < 0.03:
                total += 1
                same += track[time][1] == track[times[index]][1]
    return same / total if total else float("nan")


def durations(tracks: Tracks) -> dict[int, list[float]]:
    """Return action -> lengths in s of its uninterrupted stretches that begin and end in view."""
    lengths: dict[int, list[float]] = defaultdict(list)
    for track in tracks.values():
        began: dict[int, float] = {}
        before: float | None = None
        seen: frozenset[int] = frozenset()
        for time, (_, now) in track.items():
            if before is None or time - before > 0.15:
                began, seen = {}, now
            for action in seen - now:
                if action in began:
                    lengths[action].append(time - began.pop(action))
            for action in now - seen:
                began[action] = time
            before, seen = time, now
    return lengths


def overlap_share(rows: list[AnnotationRow], threshold: float = 0.3) -> float:
    """Return the share of boxes that another person's box of the frame overlaps above IoU ``threshold``."""
    frames: dict[tuple[str, float], set[tuple]] = defaultdict(set)
    for row in rows:
        frames[row.video_id, row.timestamp].add(row.box)
    touched = total = 0
    for boxes in frames.values():
        a = np.array(sorted(boxes))
        inner = np.minimum(a[:, None, 2:], a[None, :, 2:]) - np.maximum(a[:, None, :2], a[None, :, :2])
        inter = inner.clip(0).prod(-1)
        area = (a[:, 2:] - a[:, :2]).prod(-1)
        iou = inter / (area[:, None] + area[None] - inter)
        np.fill_diagonal(iou, 0)
        total += len(a)
        touched += int((iou.max(axis=1) > threshold).sum())
    return touched / total


def toy_statistics(root: str | Path) -> dict:
    """Count the key frames and measure properties of the dense labels of a rendered toy dataset."""
    annotations = Path(root) / "annotations"
    train = read_ground_truth(str(annotations / "train.csv"))
    val = read_ground_truth(str(annotations / "val.csv"))
    tracks = tracks_of(read_ground_truth(str(annotations / "dense.csv")))
    lengths = durations(tracks)
    per_class = {}
    for number, name, group in TOY_ACTIONS:
        per_class[name] = {
            "group": group,
            "train_rows": sum(row.action_id == number for row in train),
            "val_rows": sum(row.action_id == number for row in val),
            "median_seconds": round(float(np.median(lengths[number])), 2) if lengths[number] else None,
            "motion_only": number in MOTION_ONLY,
        }
    counts = [entry["train_rows"] for entry in per_class.values()]
    boxes = np.array([row.box for row in train + val])
    heights = (boxes[:, 3] - boxes[:, 1]) * 128
    return {
        "train_key_frames": len({(row.video_id, row.timestamp) for row in train}),
        "val_key_frames": len({(row.video_id, row.timestamp) for row in val}),
        "train_persons": len({(row.video_id, row.timestamp, row.person_id) for row in train}),
        "most_to_least_frequent": round(max(counts) / max(min(counts), 1), 1),
        "median_seconds": round(float(np.median(np.concatenate(list(lengths.values())))), 2),
        "unchanged_after_0.5_s": round(unchanged_share(tracks, 0.5), 3),
        "unchanged_after_1_s": round(unchanged_share(tracks, 1.0), 3),
        "boxes_overlapping_above_0.3": round(overlap_share(train + val), 3),
        "box_heights_px": [round(float(v)) for v in np.percentile(heights, [5, 50, 95])],
        "per_class": per_class,
    }


if __name__ == "__main__":
    with one_line_errors():
        print(json.dumps(toy_statistics(sys.argv[1] if len(sys.argv) > 1 else "datasets/toy"), indent=1))
