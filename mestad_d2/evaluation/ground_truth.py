"""The ground truth of a test set, read once by the loaders' own reader and usable under any protocol."""

from __future__ import annotations

from os import PathLike

import numpy as np

from mestad_d2.evaluation.frame_map.protocols import Protocol
from mestad_d2.evaluation.rows import Rows, frame_key
from mestad_d2.formats.ava_csv import annotation_rows, read_exclusions


class GroundTruth:
    """Annotations and exclusions of a dataset, opened when the object is made.

    Blanks, empty fields and ids such as ``1.0`` are read as in training. On files that the published evaluators accept,
    the rows are the same as theirs.

    Args:
        annotations: csv ``video,timestamp,x1,y1,x2,y2,action_id[,person_id[,confidence]]``.
        exclude: csv ``video,timestamp``, or None.
    Raises:
        UserError: names file, row and fix.
    """

    def __init__(self, annotations: str | PathLike[str], exclude: str | PathLike[str] | None = None) -> None:
        self.path = str(annotations)
        # Key frames in the order of the file, each once.
        self._frames: dict[tuple[str, float], int] = {}
        frame, boxes, actions, scores, lines = [], [], [], [], []
        for line, fields, row in annotation_rows(annotations):
            index = self._frames.setdefault((row.video_id, row.timestamp), len(self._frames))
            if row.box is not None:
                frame.append(index)
                boxes.append(row.box)
                actions.append(row.action_id)
                # The official evaluator reads the eighth column as a score, which orders boxes of equal IoU.
                scores.append(float(row.person_id) if len(fields) > 7 and fields[7] else 1.0)
                lines.append(line)
        self._frame = np.array(frame, dtype=np.int64)
        self._boxes = np.array(boxes, dtype=np.float64).reshape(-1, 4)
        self.actions = np.array(actions, dtype=np.int64)
        self._scores = np.array(scores, dtype=np.float64)
        self._lines = np.array(lines, dtype=np.int64)
        self.excluded = read_exclusions(exclude) if exclude else set()

    def readable(self, protocol: Protocol) -> bool:
        """Return whether the protocol reads every timestamp; those of whole seconds can't read 3.48."""
        return protocol.fractional or all(time.is_integer() for _, time in self._frames)

    def rows(self, protocol: Protocol) -> Rows:
        """Return the annotations under the frame names of a protocol that can read them."""
        keys: dict[str, int] = {}
        number = np.array(
            [keys.setdefault(frame_key(*frame, protocol), len(keys)) for frame in self._frames],
            dtype=np.int64,
        )
        scores = self._scores if protocol.gt_scores else np.ones(len(self._scores))
        frame = number[self._frame] if len(number) else self._frame
        return Rows(list(keys), frame, self._boxes, self.actions, scores, self._lines, self.path)

    def excluded_keys(self, protocol: Protocol) -> set[str]:
        """Return the frame names of the exclusions, where the protocol has any."""
        return exclusion_keys(self.excluded, protocol)


def exclusion_keys(excluded: set[tuple[str, float]], protocol: Protocol) -> set[str]:
    """Return the frame names of excluded (video, timestamp); empty where the protocol has no exclusions.

    In a protocol of whole seconds, a fractional timestamp matches no frame.
    """
    if not protocol.exclusions:
        return set()
    return {
        frame_key(video, time, protocol)
        for video, time in excluded
        if protocol.fractional or time.is_integer()
    }
