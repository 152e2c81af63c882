"""Calibrate on the annotators' key frames: each is left out and labelled from its neighbours."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np

from mestad_d2.boxes import box_iou
from mestad_d2.densify.boxes import BoxNoise
from mestad_d2.densify.confidence import features, fit
from mestad_d2.densify.detections.video import DetectedVideo
from mestad_d2.densify.key_frames import KeyFrame
from mestad_d2.densify.stretch import ActorLabels, label_stretch
from mestad_d2.semisup.actors import StretchDetections
from mestad_d2.semisup.assigner import TemporalLabelAssigner

POSITIVE_IOU = 0.5
# With fewer boxes the default is used.
ENOUGH_BOXES = 20
# A left-out key frame is twice as far from its neighbours, so people deviate from the line up to four times as
# much there as on frames between; the teacher's boxes are used only where they gain at least this.
LEAST_GAIN = 0.01


@dataclass(frozen=True)
class LeftOut:
    """An actor that ``label_stretch`` placed on the left-out key frame ``truth``, its frame number ``place``;
    ``distance`` in s to the nearer of the key frames that were used."""

    labels: ActorLabels
    place: int
    truth: KeyFrame
    distance: float


def calibrate(
    videos: Sequence[DetectedVideo], assigner: TemporalLabelAssigner, exclusive: frozenset[frozenset[int]]
) -> tuple[BoxNoise, np.ndarray, int]:
    """Calibrate on the key frames: how far the teacher's boxes are to be trusted, and what makes a row right.

    A left-out key frame is twice as far from its neighbours as other frames are, so this is a conservative estimate.

    Returns:
        noise of the teacher's boxes, weights of the confidence, and the number of rows that they were fitted to.
    """
    noise = box_noise(videos)
    found = [
        one
        for video in videos
        for stretch, middle in video.left_out
        for one in left_out(stretch, middle, label_stretch(stretch, assigner, exclusive, noise))
    ]
    noise = replace(noise, trusted=boxes_help(found))
    return noise, *fit_confidence(found, noise.trusted)


def left_out(
    stretch: StretchDetections, middle: KeyFrame, people: Iterable[ActorLabels]
) -> Iterator[LeftOut]:
    """Yield those who are said to be on the left-out key frame ``middle``."""
    place = int(np.argmin(np.abs(stretch.times - middle.time)))
    distance = min(middle.time - stretch.left.time, stretch.right.time - middle.time)
    for labels in people:
        if labels.there[place] >= 0.5:
            yield LeftOut(labels, place, middle, distance)


def boxes_help(found: Iterable[LeftOut]) -> bool:
    """Return whether the teacher's boxes beat the straight line by ``LEAST_GAIN`` in mean IoU."""
    gains = []
    for one in found:
        line, fused = one.labels.interpolated[one.place], one.labels.boxes[one.place]
        same = [p for p in one.truth.people if p.person_id == one.labels.person_id >= 0] or one.truth.people
        if same:
            box = max((np.array(person.box) for person in same), key=lambda box: box_iou(line, box))
            gains.append(box_iou(fused, box) - box_iou(line, box))
    return len(gains) < ENOUGH_BOXES or float(np.mean(gains)) >= LEAST_GAIN


def _is_right(box: np.ndarray, action: int, truth: KeyFrame) -> bool:
    best = max(truth.people, key=lambda person: box_iou(box, np.array(person.box)), default=None)
    return best is not None and box_iou(box, np.array(best.box)) >= POSITIVE_IOU and action in best.actions


def box_noise(videos: Iterable[DetectedVideo]) -> BoxNoise:
    """Measure the distance of the teacher's boxes from the annotated ones on key frames, in mean box sides.

    The slow part is taken twice as large as measured: on frames between, which the teacher was not trained on, it is
    larger than on key frames.
    """
    rest = []
    for video in videos:
        for key, seen in video.on_key_frames:
            boxes = seen.fractions()
            for person in key.people if len(seen) else ():
                box = np.array(person.box)
                near = max(boxes, key=lambda other, box=box: box_iou(other, box))
                if box_iou(near, box) >= POSITIVE_IOU:
                    rest.append((near - box) / np.tile(box[2:] - box[:2], 2))
    if len(rest) < ENOUGH_BOXES:
        return BoxNoise()
    spread = float(np.clip(np.sqrt(np.mean(np.square(rest))), 0.02, 0.3))
    return BoxNoise(constant=spread, slow=2 * spread, noise=spread / 2)


def fit_confidence(found: Iterable[LeftOut], trusted: bool) -> tuple[np.ndarray, int]:
    """Fit the weights of the confidence; return them and the number of left-out rows used.

    Args:
        trusted: as in ``BoxNoise``.
    """
    rows, right = [], []
    for one in found:
        boxes = one.labels.boxes if trusted else one.labels.interpolated
        for action in one.labels.chosen(one.place):
            rows.append(features(one.labels, one.place, action, one.distance))
            right.append(_is_right(boxes[one.place], action, one.truth))
    return fit(np.array(rows), np.array(right, dtype=float)), len(rows)
