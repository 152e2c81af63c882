"""Read ground truth and detections from csv exactly as the published evaluators do, refusals included."""

from __future__ import annotations

import math
from decimal import Decimal, InvalidOperation
from os import PathLike

import numpy as np

from mestad_d2.errors import UserError
from mestad_d2.evaluation.fast_csv import Chunk, NotPlain, chunks
from mestad_d2.evaluation.frame_map.protocols import Protocol, get_protocol
from mestad_d2.evaluation.rows import Rows
from mestad_d2.formats.ava_csv import as_number, raw_csv_lines

Path = str | PathLike[str]


def read_rows(path: Path, role: str, protocol: str | Protocol, class_ids: set[int] | None = None) -> Rows:
    """Read the rows of an AVA csv: ``video,timestamp,x1,y1,x2,y2,action_id[,score]``.

    A row of two columns (``activitynet`` only), and in the ground truth one with nothing behind the
    timestamp (AVA-Kinetics, ``video,timestamp,,,,,,``), names a frame without boxes. Scores are read where the
    protocol reads them, and only of classes in ``class_ids`` (None: all), since the published evaluators
    skip the others first; their rows are returned with score NaN.

    Args:
        role: "gt" or "det".
    Raises:
        UserError: unreadable file or a row that the protocol does not accept; names file and row.
    """
    protocol = get_protocol(protocol)
    reader = _Reader(str(path), role, protocol, class_ids)
    try:
        try:
            return reader.fast()
        except NotPlain:
            return reader.exact()
    except OSError as error:
        raise UserError(f"{path}: can't be read ({error.strerror}); check the path") from None


class _Reader:
    def __init__(self, path: str, role: str, protocol: Protocol, class_ids: set[int] | None) -> None:
        self.path, self.protocol = path, protocol
        self.ids = class_ids
        self.role = role
        self.widths = protocol.gt_widths if role == "gt" else protocol.det_widths
        self.with_scores = role == "det" or protocol.gt_scores
        # PySlowFast's copy fails on a row without a score only after it has skipped unknown classes.
        self.score_needed = role == "det" and 7 not in self.widths
        self.index: dict[str, int] = {}
        self.parts: list[tuple[np.ndarray, ...]] = []

    def fast(self) -> Rows:
        """Read the whole file by columns; raise ``NotPlain`` where a row needs the exact reader."""
        self.index, self.parts = {}, []
        names: dict[bytes, int] = {}
        line = 1
        for chunk in chunks(self.path):
            if not np.isin(chunk.widths, self.widths).all():
                raise NotPlain
            frame = self._frames(chunk, names)
            lines = np.flatnonzero((chunk.widths > 2) & ~(chunk.blank_after(2) & (self.role == "gt")))
            boxes = np.empty((len(lines), 4))
            actions = np.empty(0, dtype=np.int64)
            if len(lines):
                for i in range(4):
                    boxes[:, i] = chunk.floats(lines, 2 + i)
                actions = chunk.ints(lines, 6)
            scores = np.ones(len(lines))
            if self.with_scores and len(lines):
                known = (
                    np.isin(actions, list(self.ids)) if self.ids is not None else np.ones(len(lines), bool)
                )
                scores[~known] = np.nan
                given = known & (chunk.widths[lines] == 8)
                scores[given] = chunk.floats(lines[given], 7)
                if not np.isfinite(scores[given]).all():
                    raise NotPlain
            if not np.isfinite(boxes).all():
                raise NotPlain
            self.parts.append((frame[lines], boxes, actions, scores, lines + line))
            line += chunk.count
        return self._rows()

    def _frames(self, chunk: Chunk, names: dict[bytes, int]) -> np.ndarray:
        """Frame index of each line; equal neighbours are looked up once."""
        every = np.arange(chunk.count)
        text = chunk.text(chunk.bounds(every, 0)[0], chunk.bounds(every, 1)[1])
        heads = np.flatnonzero(np.concatenate([[True], text[1:] != text[:-1]]))
        found = []
        for name in text[heads].tolist():
            number = names.get(name)
            if number is None:
                try:
                    video, timestamp = name.decode().split(",")
                    key = _key(video, timestamp, self.protocol, self.path, 0)
                except ValueError:
                    raise NotPlain from None
                number = names[name] = self.index.setdefault(key, len(self.index))
            found.append(number)
        return np.repeat(np.array(found, dtype=np.int64), np.diff(heads, append=chunk.count))

    def exact(self) -> Rows:
        """Read the whole file row by row with Python's csv module."""
        self.index = {}
        frame, boxes, actions, scores, lines = [], [], [], [], []
        for number, row in raw_csv_lines(self.path):
            if len(row) not in self.widths and not (self.score_needed and len(row) == 7):
                what = "an empty line" if not row else f"{len(row)} columns"
                fix = "remove it" if not row else self._form()
                raise _bad(self.path, number, what, fix)
            key = _key(row[0], row[1], self.protocol, self.path, number)
            index = self.index.setdefault(key, len(self.index))
            if len(row) == 2 or (self.role == "gt" and not any(field.strip() for field in row[2:])):
                continue
            box = [self._number(row[2 + i], number, "xyxy"[i] + "1122"[i]) for i in range(4)]
            action = self._action(row[6], number)
            frame.append(index)
            boxes.append(box)
            actions.append(action)
            scores.append(self._score(row, action, number))
            lines.append(number)
        self.parts = [
            (
                np.array(frame, dtype=np.int64),
                np.array(boxes, dtype=np.float64).reshape(-1, 4),
                np.array(actions, dtype=np.int64),
                np.array(scores, dtype=np.float64),
                np.array(lines, dtype=np.int64),
            )
        ]
        return self._rows()

    def _form(self) -> str:
        last = "score" if self.role == "det" else "person_id"
        accepted = " or ".join(map(str, self.widths))
        return (
            f"write video,timestamp,x1,y1,x2,y2,action_id,{last} ({self.protocol.name} accepts {accepted} "
            "columns, separated by commas)"
        )

    def _score(self, row: list[str], action: int, number: int) -> float:
        if not self.with_scores:
            return 1.0
        if self.ids is not None and action not in self.ids:
            return math.nan
        if len(row) == 8:
            return self._number(row[7], number, "score")
        if self.score_needed:
            raise _bad(self.path, number, "no score", "append a score as the eighth column")
        return 1.0

    def _number(self, text: str, number: int, name: str) -> float:
        try:
            value = float(text)
        except ValueError:
            value = math.nan
        # The published evaluators continue with NaN and give an arbitrary figure; here it is an error.
        if not math.isfinite(value):
            raise _bad(self.path, number, f"{name} is {text!r}", "write a finite number")
        return value

    def _action(self, text: str, number: int) -> int:
        try:
            value = int(text)
        except ValueError:
            raise _bad(self.path, number, f"action id is {text!r}", "write a whole number") from None
        return value if abs(value) < 2**31 else -1

    def _rows(self) -> Rows:
        empty = (
            np.empty(0, np.int64),
            np.empty((0, 4)),
            np.empty(0, np.int64),
            np.empty(0),
            np.empty(0, np.int64),
        )
        parts = self.parts or [empty]
        frame, boxes, actions, scores, lines = (np.concatenate(c) for c in zip(*parts, strict=True))
        return Rows(list(self.index), frame, boxes, actions, scores, lines, self.path)


def _key(video: str, timestamp: str, protocol: Protocol, path: str, number: int) -> str:
    # A number is no column name.
    header = "; remove the header row" if number == 1 and as_number(timestamp) is None else ""
    if protocol.fractional:
        try:
            value = float(Decimal(timestamp))
        except (InvalidOperation, OverflowError, ValueError):
            value = math.nan
        if not math.isfinite(value):
            raise _bad(
                path, number, f"timestamp is {timestamp!r}", "write seconds, like 0902 or 3.48" + header
            )
        return f"{video},{value:.6f}"
    try:
        return f"{video},{int(timestamp):04d}"
    except ValueError:
        what = f"timestamp is {timestamp!r}"
        fix = f"{protocol.name} needs whole seconds; use activitynet" + header
        raise _bad(path, number, what, fix) from None


def _bad(path: str, number: int, what: str, fix: str) -> UserError:
    return UserError(f"{path}, row {number}: {what}; {fix}")
