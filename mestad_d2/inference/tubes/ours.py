"""Our linker: people are tracked online, gaps bridged, and each action is cut out of its person's track.

Unlike the published linkers it follows people, not boxes of one class, so that a weak score for some frames
doesn't end a tube, and two actors of one class are two tubes. Its memory does not grow with the video.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from mestad_d2.evaluation.tubes.overlap import box_iou
from mestad_d2.formats.tubes.csv_files import TubeDataset
from mestad_d2.formats.tubes.records import Tubelets, Tubes, tubes_of
from mestad_d2.inference.tracker import ActorTracker
from mestad_d2.inference.tubes.cutting import CutSettings, cut_track, filled

# Frames over which people are followed in frame detections, chosen on the toy (docs/tubes.md).
LINK_GAP = 25
# Boxes of different classes that overlap this much are one person; of one class, one detection.
SAME_PERSON = 0.6
# Frames of a track that are held; a longer track is cut here.
MOST_FRAMES = 3000


@dataclass(frozen=True)
class Tube:
    """One action of one person over time.

    Attributes:
        track_id: of the person.
        label: action, from 0.
        score: in [0, 1].
        frames: (n,) whole numbers, without gaps.
        boxes: (n, 4) x1, y1, x2, y2 in pixels.
    """

    track_id: int
    label: int
    score: float
    frames: np.ndarray
    boxes: np.ndarray


@dataclass
class _Track:
    frames: list[int] = field(default_factory=list)
    boxes: list[np.ndarray] = field(default_factory=list)
    scores: list[np.ndarray] = field(default_factory=list)


class TubeLinker:
    """Make tubes of tracked people, online.

    Args:
        max_gap: frames after which a person who was not seen again is gone; at least the tracker's own.
        settings: how actions are cut out of tracks.
        most_frames: longest piece of a track that is held; a longer track gives several tubes.
    """

    def __init__(
        self, max_gap: int = LINK_GAP, settings: CutSettings | None = None, most_frames: int = MOST_FRAMES
    ) -> None:
        self.max_gap = max_gap
        self.settings = settings or CutSettings()
        self.most_frames = most_frames
        self._tracks: dict[int, _Track] = {}

    def update(self, frame: int, track_ids: np.ndarray, boxes: np.ndarray, actions: np.ndarray) -> list[Tube]:
        """Take the people of a frame and return the tubes that are complete.

        Args:
            frame: whole number, increasing from call to call.
            track_ids: (N,); boxes: (N, 4); actions: (N, A) scores.
        """
        done = []
        for number in [n for n, t in self._tracks.items() if frame - t.frames[-1] > self.max_gap]:
            done += self._end(number)
        for number, box, action in zip(np.asarray(track_ids).tolist(), boxes, actions, strict=True):
            track = self._tracks.setdefault(number, _Track())
            track.frames.append(frame)
            track.boxes.append(np.asarray(box))
            track.scores.append(np.asarray(action))
            if len(track.frames) >= self.most_frames:
                done += self._end(number)
        return done

    def oldest(self, default: int) -> int:
        """Return the first frame of the tracks in memory, or ``default`` without any."""
        return min((track.frames[0] for track in self._tracks.values()), default=default)

    def finish(self) -> list[Tube]:
        """End all tracks and return their tubes."""
        return [tube for number in list(self._tracks) for tube in self._end(number)]

    def _end(self, number: int) -> list[Tube]:
        track = self._tracks.pop(number)
        frames, boxes, scores = filled(
            np.array(track.frames), np.stack(track.boxes).astype(np.float64), np.stack(track.scores)
        )
        return [
            Tube(number, cut.label, cut.score, frames[cut.rows], boxes[cut.rows])
            for cut in cut_track(scores, self.settings)
        ]


def link_ours(
    found: Tubelets,
    dataset: TubeDataset,
    settings: CutSettings | None = None,
    max_gap: int = LINK_GAP,
) -> Tubes:
    """Link frame detections of whole videos.

    Args:
        max_gap: frames that a person may be unseen.
    """
    parts = []
    for video in np.unique(found.video).tolist():
        tracker = ActorTracker(max_gap=max_gap)
        linker = TubeLinker(max_gap, settings)
        rows = np.flatnonzero(found.video == video)
        rows = rows[np.argsort(found.frame[rows], kind="stable")]
        tubes = []
        for part in np.split(rows, np.flatnonzero(np.diff(found.frame[rows])) + 1):
            frame = int(found.frame[part[0]])
            boxes, scores = people(
                found.boxes[part, 0], found.label[part], found.score[part], len(dataset.classes)
            )
            ids, _ = tracker.update(float(frame), boxes, scores.max(1), scores)
            tubes += linker.update(frame, ids, boxes, scores)
        tubes += linker.finish()
        tubes.sort(key=lambda tube: (tube.label, -tube.score))
        parts += [(video, tube.label, tube.score, tube.frames, tube.boxes) for tube in tubes]
    return tubes_of(found.videos, parts)


def people(
    boxes: np.ndarray, labels: np.ndarray, scores: np.ndarray, num_classes: int
) -> tuple[np.ndarray, np.ndarray]:
    """Merge the rows of a frame into people.

    Args:
        boxes: (n, 4); labels: (n,) from 0; scores: (n,).

    Returns:
        boxes (m, 4) of each person's surest row, and action scores (m, num_classes), 0 where there is none.
    """
    order = np.argsort(-scores, kind="stable")
    boxes, labels, scores = boxes[order], labels[order], scores[order]
    left, right = np.divmod(np.arange(len(boxes) ** 2), max(len(boxes), 1))
    overlap = np.nan_to_num(box_iou(boxes[left], boxes[right], "continuous")).reshape(len(boxes), -1)
    # Boxes without area are equal or not.
    overlap[(boxes[:, None] == boxes[None]).all(-1)] = 1.0
    kept: list[int] = []
    rows: list[np.ndarray] = []
    for i in range(len(boxes)):
        near = [k for k, j in enumerate(kept) if overlap[i, j] >= SAME_PERSON]
        if near:
            # The person it overlaps most.
            k = max(near, key=lambda k: overlap[i, kept[k]])
            rows[k][labels[i]] = max(rows[k][labels[i]], scores[i])
            continue
        kept.append(i)
        row = np.zeros(num_classes)
        row[labels[i]] = scores[i]
        rows.append(row)
    return boxes[kept].astype(np.float64), np.stack(rows) if rows else np.empty((0, num_classes))
