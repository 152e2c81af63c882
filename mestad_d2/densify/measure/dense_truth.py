"""Dense labels against the truth of every frame.

A true person is found where a labelled box overlaps it by IoU 0.5; pairs are the one-to-one matching of
largest total IoU on a frame.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

import numpy as np
from scipy.optimize import linear_sum_assignment

from mestad_d2.boxes import pairwise_iou
from mestad_d2.formats.ava_csv import AnnotationRow
from mestad_d2.people import Person

FOUND_IOU = 0.5
# Video -> ms -> people of the frame.
Frames = dict[str, dict[int, list[Person]]]


def milliseconds(timestamp: str | float) -> int:
    """Convert a timestamp to an integer key: rows of one frame agree to the millisecond."""
    return round(float(timestamp) * 1000)


def people_by_frame(rows: Iterable[AnnotationRow]) -> Frames:
    """Return video -> ms -> people of a frame; rows of the same person and box are merged."""
    found: dict[str, dict[int, dict[tuple, set[int]]]] = defaultdict(lambda: defaultdict(dict))
    for row in rows:
        frame = found[row.video_id][milliseconds(row.timestamp)]
        frame.setdefault((row.box, row.person_id), set()).add(row.action_id)
    return {
        video: {
            time: [Person(box, frozenset(actions), person) for (box, person), actions in people.items()]
            for time, people in times.items()
        }
        for video, times in found.items()
    }


@dataclass
class Measures:
    """Sums over frames; ``summary`` makes the figures of them."""

    persons: int = 0
    found: int = 0
    ious: list[float] = field(default_factory=list)
    labels: int = 0
    true_labels: int = 0
    hits: int = 0
    moments: list[float] = field(default_factory=list)

    def add_frame(self, truth: Sequence[Person], given: Sequence[Person]) -> None:
        """Count a frame."""
        self.persons += len(truth)
        self.labels += sum(len(person.actions) for person in given)
        self.true_labels += sum(len(person.actions) for person in truth)
        for person, other, iou in match(truth, given):
            self.ious.append(iou)
            if iou >= FOUND_IOU:
                self.found += 1
                self.hits += len(truth[person].actions & given[other].actions)

    def summary(self) -> dict[str, float]:
        """Return ``found``: share of true persons. ``iou``: mean over true persons, 0 for those without a box.
        ``precision``, ``recall``, ``f1`` of labels on found persons; ``moment``: mean error of ``moments``
        starts and ends, in s."""
        precision, recall = self.hits / max(self.labels, 1), self.hits / max(self.true_labels, 1)
        return {
            "found": self.found / max(self.persons, 1),
            "iou": sum(self.ious) / max(self.persons, 1),
            "precision": precision,
            "recall": recall,
            "f1": 2 * precision * recall / max(precision + recall, 1e-12),
            "moment": float(np.mean(self.moments)) if self.moments else float("nan"),
            "moments": len(self.moments),
        }


def match(truth: Sequence[Person], given: Sequence[Person]) -> list[tuple[int, int, float]]:
    """Match pairs (true person, given person, IoU) with any overlap."""
    if not truth or not given:
        return []
    iou = pairwise_iou(np.array([p.box for p in truth]), np.array([p.box for p in given]))
    rows, columns = linear_sum_assignment(iou, maximize=True)
    return [(int(r), int(c), float(iou[r, c])) for r, c in zip(rows, columns, strict=True) if iou[r, c] > 0]


def measure(truth: Frames, given: Frames, spans: dict[str, list[tuple[float, float]]]) -> Measures:
    """Compare on every true frame strictly between the key frames of ``spans`` (left, right, in s).

    Frames that the dense truth does not annotate count only where it annotates others of the span.
    Starts and ends are those of the true persons, see ``change_errors``.
    """
    result = Measures()
    for video, pairs in spans.items():
        for left, right in pairs:
            low, high = milliseconds(left), milliseconds(right)
            times = [t for t in sorted(truth.get(video, {})) if low < t < high]
            both = [(t, truth[video][t], given.get(video, {}).get(t, [])) for t in times]
            for _, true, found in both:
                result.add_frame(true, found)
            ends = [(t, truth[video].get(t, []), given.get(video, {}).get(t, [])) for t in (low, high)]
            result.moments += change_errors([ends[0], *both, ends[1]])
    return result


def change_errors(frames: list[tuple[int, Sequence[Person], Sequence[Person]]]) -> list[float]:
    """Measure the errors (s) of the starts and ends inside a stretch.

    Counted are the actions of a true person who is on both ends and has the action on one of them, changing
    once. The given moment is where the given labels of that person (matched on each frame, IoU 0.5) change
    the first time; where they never do, the far end of the stretch.
    """
    errors = []
    ids = {p.person_id for p in frames[0][1]} & {p.person_id for p in frames[-1][1]}
    times = np.array([time for time, _, _ in frames]) / 1000
    for person in sorted(ids):
        own = [next((p for p in true if p.person_id == person), None) for _, true, _ in frames]
        if any(p is None for p in own):
            continue
        labels = [_labels_of(p, found) for p, (_, _, found) in zip(own, frames, strict=True)]
        for action in own[0].actions ^ own[-1].actions:
            true = np.array([action in p.actions for p in own])
            given = [None if found is None else action in found for found in labels]
            given[0], given[-1] = bool(true[0]), bool(true[-1])
            if (np.diff(true.astype(int)) != 0).sum() == 1:
                errors.append(abs(_moment(times, list(true)) - _moment(times, given)))
    return errors


def _labels_of(person: Person, found: Sequence[Person]) -> frozenset[int] | None:
    if not found:
        return None
    overlaps = pairwise_iou(np.array([person.box]), np.array([other.box for other in found]))[0]
    best = int(overlaps.argmax())
    return found[best].actions if overlaps[best] >= FOUND_IOU else None


def _moment(times: np.ndarray, states: list[bool | None]) -> float:
    known = [(time, state) for time, state in zip(times, states, strict=True) if state is not None]
    for (before, old), (after, new) in zip(known, known[1:], strict=False):
        if old != new:
            return (before + after) / 2
    return float(times[-1])


def right_rows(truth: Frames, rows: Iterable[AnnotationRow]) -> np.ndarray:
    """Return (R,) 1 where the true person of largest IoU has IoU 0.5 and the action, 0 where not; NaN where the
    truth does not annotate the frame."""
    right = []
    for row in rows:
        people = truth.get(row.video_id, {}).get(milliseconds(row.timestamp))
        if not people:
            right.append(np.nan)
            continue
        iou = pairwise_iou(np.array([row.box]), np.array([person.box for person in people]))[0]
        best = int(iou.argmax())
        right.append(float(iou[best] >= FOUND_IOU and row.action_id in people[best].actions))
    return np.array(right)


def wrong_among_least_sure(confidence: np.ndarray, right: np.ndarray, share: float = 0.2) -> float:
    """Return the share of all wrong rows among the ``share`` of rows with the lowest confidence."""
    order = np.argsort(confidence, kind="stable")[: round(share * len(confidence))]
    return float((1 - right[order]).sum() / max((1 - right).sum(), 1e-12))


def reliability(confidence: np.ndarray, right: np.ndarray, bins: int = 10) -> list[tuple[float, float, int]]:
    """Return (mean confidence, share of right rows, rows) of equal, non-empty bins of confidence."""
    places = np.minimum((confidence * bins).astype(int), bins - 1)
    groups = [places == place for place in range(bins)]
    return [(float(confidence[g].mean()), float(right[g].mean()), int(g.sum())) for g in groups if g.any()]
