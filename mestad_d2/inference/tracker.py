"""Link people of successive key frames, so that a label keeps its colour and number (ours)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from mestad_d2.boxes import pairwise_giou


@dataclass
class _Track:
    number: int
    time: float
    box: np.ndarray
    actions: np.ndarray
    score: float


class ActorTracker:
    """Online tracker: optimal one-to-one matching by box, people with a high score first.

    GIoU instead of IoU, because at one key frame a second a walking person's boxes may only touch.

    Args:
        min_giou: pairs below it are not linked.
        high_score: people with at least this score are matched before the others, so that a box of low
            score never takes the track of one of high score.
        max_gap: a track unseen for longer than this, in seconds, is closed.
        smoothing: weight of the track's past in its action scores, in [0, 1); 0 turns smoothing off.
        sureness: weight of the person score against GIoU: a GIoU higher by this much makes up for a person
            score lower by 1.
    """

    def __init__(
        self,
        min_giou: float = 0.0,
        high_score: float = 0.5,
        max_gap: float = 2.0,
        smoothing: float = 0.0,
        sureness: float = 1.0,
    ) -> None:
        if not 0 <= smoothing < 1:
            raise ValueError(f"smoothing {smoothing} is not in [0, 1)")
        self.min_giou, self.high_score = min_giou, high_score
        self.max_gap, self.smoothing, self.sureness = max_gap, smoothing, sureness
        self._tracks: list[_Track] = []
        self._next = 1

    def update(
        self, time: float, boxes: np.ndarray, scores: np.ndarray, actions: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        """Link the people of the next key frame.

        Args:
            time: seconds, not decreasing from call to call.
            boxes: (N, 4); scores: (N,); actions: (N, A).

        Returns:
            track numbers (N,) from 1 on, and action scores (N, A), smoothed if asked for.
        """
        self._tracks = [t for t in self._tracks if time - t.time <= self.max_gap + 1e-6]
        ids = np.full(len(boxes), -1, dtype=np.int64)
        actions = np.array(actions, copy=True)
        free = list(self._tracks)
        sure = scores >= self.high_score
        for group in (np.flatnonzero(sure), np.flatnonzero(~sure)):
            matches = self._match(free, boxes[group])
            for row, track in matches:
                person = group[row]
                ids[person] = track.number
                actions[person] = self.smoothing * track.actions + (1 - self.smoothing) * actions[person]
                track.time, track.box, track.actions = time, boxes[person], actions[person].copy()
                track.score = 0.9 * track.score + 0.1 * float(scores[person])
            taken = {id(track) for _, track in matches}
            free = [track for track in free if id(track) not in taken]
        # The new person of highest score gets the lowest number.
        for person in sorted(np.flatnonzero(ids < 0), key=lambda i: -scores[i]):
            ids[person] = self._next
            self._tracks.append(
                _Track(self._next, time, boxes[person], actions[person].copy(), float(scores[person]))
            )
            self._next += 1
        return ids, actions

    def _match(self, tracks: list[_Track], boxes: np.ndarray) -> list[tuple[int, _Track]]:
        if not tracks or not len(boxes):
            return []
        gain = pairwise_giou(boxes, np.stack([t.box for t in tracks]))
        # A forbidden pair must cost more than no pair, or it would displace allowed ones.
        bonus = self.sureness * np.clip([t.score for t in tracks], 0, 1)
        gain = np.where(gain >= self.min_giou, gain + 1.0 - self.min_giou + bonus, 0.0)
        # Imported here, so that programs start faster.
        from scipy.optimize import linear_sum_assignment

        rows, columns = linear_sum_assignment(gain, maximize=True)
        return [(r, tracks[c]) for r, c in zip(rows, columns, strict=True) if gain[r, c] > 0]
