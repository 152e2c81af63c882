"""Key frames and stretches of an annotation csv.

Boxes are x1, y1, x2, y2 in [0, 1]; times are the csv's timestamps in seconds.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

from mestad_d2.formats.ava_csv import AnnotationRow, read_exclusions, read_ground_truth
from mestad_d2.formats.people import people_of
from mestad_d2.semisup.actors import KeyFrame


def key_frames(annotations: str, exclude: str | None = None) -> dict[str, list[KeyFrame]]:
    """Return the key frames of every video in order of time, without the excluded ones.

    Args:
        annotations: csv ``video,timestamp,x1,y1,x2,y2,action_id[,person_id]``.
        exclude: csv ``video,timestamp`` of key frames to leave out.

    Raises:
        UserError: names file and row; rows with a confidence (pseudo labels) are refused.
    """
    excluded = read_exclusions(exclude) if exclude else set()
    rows: dict[str, dict[float, list[AnnotationRow]]] = defaultdict(lambda: defaultdict(list))
    for row in read_ground_truth(annotations, confidence=False):
        if (row.video_id, round(row.timestamp, 3)) not in excluded:
            rows[row.video_id][row.timestamp].append(row)
    return {
        video: [KeyFrame(time, tuple(people_of(found))) for time, found in sorted(times.items())]
        for video, times in sorted(rows.items())
    }


def stretches(frames: Sequence[KeyFrame], max_gap: float) -> list[tuple[KeyFrame, KeyFrame]]:
    """Return the pairs of neighbouring key frames at most ``max_gap`` seconds apart."""
    pairs = zip(frames, frames[1:], strict=False)
    return [(left, right) for left, right in pairs if right.time - left.time <= max_gap + 1e-6]
