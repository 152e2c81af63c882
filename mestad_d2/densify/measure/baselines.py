"""Baselines without a teacher: interpolate with all labels of both sides, or copy the nearest key frame."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from mestad_d2.densify.detections.video import DetectedVideo
from mestad_d2.densify.key_frames import KeyFrame
from mestad_d2.formats.ava_csv import AnnotationRow
from mestad_d2.semisup.actors import pair_people


def interpolate(video_id: str, left: KeyFrame, right: KeyFrame, times: np.ndarray) -> list[AnnotationRow]:
    """Interpolate boxes linearly between both key frames, with the union of their labels.

    A person on one key frame only stays until the middle.
    """
    rows = []
    for actor in pair_people(left, right):
        both = actor.left is not None and actor.right is not None
        actions = frozenset().union(*(p.actions for p in (actor.left, actor.right) if p is not None))
        for time in times:
            weight = (time - left.time) / (right.time - left.time)
            if both or (weight < 0.5) == (actor.left is not None):
                box = tuple(float(v) for v in actor.box_at(weight))
                rows += [
                    AnnotationRow(video_id, f"{time:.6f}", box, a, actor.person_id) for a in sorted(actions)
                ]
    return rows


def nearest(video_id: str, left: KeyFrame, right: KeyFrame, times: np.ndarray) -> list[AnnotationRow]:
    """Return the boxes and labels of the nearer key frame."""
    rows = []
    for time in times:
        key = left if time - left.time <= right.time - time else right
        for person in key.people:
            rows += [
                AnnotationRow(video_id, f"{time:.6f}", person.box, a, person.person_id)
                for a in sorted(person.actions)
            ]
    return rows


def baseline_rows(
    videos: list[DetectedVideo], method: Callable[..., list[AnnotationRow]]
) -> list[AnnotationRow]:
    """Return rows of ``interpolate`` or ``nearest`` on the frames that the teacher labels."""
    return [
        row
        for video in videos
        for stretch in video.stretches
        for row in method(video.video_id, stretch.left, stretch.right, stretch.times[stretch.between])
    ]
