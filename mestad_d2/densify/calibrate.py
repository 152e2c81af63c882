"""What the annotators' own key frames tell: each is left out and labelled from its neighbours."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np

from mestad_d2.densify.boxes import BoxNoise
from mestad_d2.densify.confidence import _iou, fit, signs
from mestad_d2.densify.frames import nearest_index
from mestad_d2.densify.label import ActorLabels, label_stretch
from mestad_d2.densify.records import KeyFrame
from mestad_d2.densify.video import WatchedVideo
from mestad_d2.semisup.assigner import TemporalLabelAssigner

POSITIVE_IOU = 0.5
# Fewer boxes tell less than the default does.
ENOUGH_BOXES = 20


def left_out_rows(
    video: WatchedVideo,
    assigner: TemporalLabelAssigner,
    exclusive: frozenset[frozenset[int]],
    max_gap: float,
    noise: BoxNoise,
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
        for labels in label_stretch(before, after, times, sightings, assigner, exclusive, noise):
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


def box_noise(videos: Iterable[WatchedVideo]) -> BoxNoise:
    """How far the teacher's boxes are from the annotators' on the key frames, in mean box sides.

    The slow part is taken twice as large as measured: on frames between, where nobody taught the teacher, it
    is larger than on key frames.
    """
    rest = []
    for video in videos:
        for key in video.keys:
            seen = video.sightings.get(nearest_index(video.times, key.time - video.start))
            for person in key.people if seen is not None and len(seen.scores) else ():
                box = np.array(person.box)
                near = max(seen.boxes, key=lambda other, box=box: _iou(other, box))
                if _iou(near, box) >= POSITIVE_IOU:
                    rest.append((near - box) / np.tile(box[2:] - box[:2], 2))
    if len(rest) < ENOUGH_BOXES:
        return BoxNoise()
    spread = float(np.clip(np.sqrt(np.mean(np.square(rest))), 0.02, 0.3))
    return BoxNoise(constant=spread, slow=2 * spread, noise=spread / 2)


def fit_confidence(
    videos: Iterable[WatchedVideo],
    assigner: TemporalLabelAssigner,
    exclusive: frozenset[frozenset[int]],
    max_gap: float,
    noise: BoxNoise,
) -> tuple[np.ndarray, int]:
    """Weights of the confidence, and the number of left-out rows that they come from."""
    rows, right = [], []
    for video in videos:
        found: tuple[Sequence, Sequence] = left_out_rows(video, assigner, exclusive, max_gap, noise)
        rows += found[0]
        right += found[1]
    return fit(np.array(rows), np.array(right, dtype=float)), len(rows)
