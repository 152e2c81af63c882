"""What the annotators' own key frames tell: each is left out and labelled from its neighbours."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np

from mestad_d2.densify.confidence import _iou, fit, signs
from mestad_d2.densify.label import ActorLabels, label_stretch
from mestad_d2.densify.records import KeyFrame
from mestad_d2.densify.video import WatchedVideo
from mestad_d2.semisup.assigner import TemporalLabelAssigner

POSITIVE_IOU = 0.5


def left_out_rows(
    video: WatchedVideo, assigner: TemporalLabelAssigner, exclusive: frozenset[frozenset[int]], max_gap: float
) -> tuple[list[np.ndarray], list[bool]]:
    """Signs of the rows that key frames would get without their own annotation, and whether they are right.

    A key frame is twice as far from its neighbours as other frames are, so this errs on the careful side.
    """
    rows, right = [], []
    for before, middle, after in zip(video.keys, video.keys[1:], video.keys[2:], strict=False):
        if max(middle.time - before.time, after.time - middle.time) > max_gap + 1e-6:
            continue
        frames = video.between(before, after, ends=True)
        times = video.times[frames] + video.start
        place = int(np.argmin(np.abs(times - middle.time)))
        distance = min(middle.time - before.time, after.time - middle.time)
        sightings = [video.sightings[frame] for frame in frames]
        for labels in label_stretch(before, after, times, sightings, assigner, exclusive):
            if labels.there[place] < 0.5:
                continue
            for action in labels.chosen(place):
                rows.append(signs(labels, place, action, distance))
                right.append(_is_right(labels, place, action, middle))
    return rows, right


def _is_right(labels: ActorLabels, place: int, action: int, truth: KeyFrame) -> bool:
    best = max(truth.people, key=lambda person: _iou(labels.boxes[place], np.array(person.box)), default=None)
    return (
        best is not None
        and _iou(labels.boxes[place], np.array(best.box)) >= POSITIVE_IOU
        and action in best.actions
    )


def fit_confidence(
    videos: Iterable[WatchedVideo],
    assigner: TemporalLabelAssigner,
    exclusive: frozenset[frozenset[int]],
    max_gap: float,
) -> tuple[np.ndarray, int]:
    """Weights of the confidence, and the number of left-out rows that they come from."""
    rows, right = [], []
    for video in videos:
        found: tuple[Sequence, Sequence] = left_out_rows(video, assigner, exclusive, max_gap)
        rows += found[0]
        right += found[1]
    return fit(np.array(rows), np.array(right, dtype=float)), len(rows)
