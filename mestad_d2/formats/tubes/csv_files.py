"""Tubes, frame detections and tubelets as csv, and the classes and videos of a dataset as json."""

from __future__ import annotations

import csv
import json
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import numpy as np

from mestad_d2.errors import UserError
from mestad_d2.formats.ava_csv import raw_csv_lines
from mestad_d2.formats.csv_cells import is_number, text_cell
from mestad_d2.formats.files import atomic_open
from mestad_d2.formats.tubes.records import FrameBoxes, Tubelets, Tubes, VideoInfo

BOX = ("x1", "y1", "x2", "y2")
GROUND_TRUTH = ("video", "class", "tube", "frame", *BOX)
TUBES = (*GROUND_TRUTH, "score")
FRAMES = ("video", "frame", "class", "score", *BOX)
TUBELETS = ("video", "start", "class", "tubelet", "score", "k", *BOX)
FORMS = {"tubelets": TUBELETS, "tubes": TUBES, "frames": FRAMES, "ground truth": GROUND_TRUTH}


@dataclass(frozen=True)
class TubeDataset:
    """``classes`` by index and ``videos`` in the order in which they are evaluated."""

    classes: tuple[str, ...]
    videos: tuple[VideoInfo, ...]

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the videos."""
        return tuple(video.name for video in self.videos)


def read_dataset(path: str | Path) -> TubeDataset:
    """Read classes and videos of a json file ``{"classes": [...], "videos": [{"name", "nframes", ...}]}``.

    Raises:
        UserError: no such file, or another layout.
    """
    try:
        content = json.loads(Path(path).read_text(encoding="utf-8"))
        videos = tuple(
            VideoInfo(v["name"], int(v.get("nframes", 0)), int(v.get("height", 0)), int(v.get("width", 0)))
            for v in content["videos"]
        )
        return TubeDataset(tuple(map(str, content["classes"])), videos)
    except OSError as error:
        raise UserError(f"{path}: can't be read ({error.strerror}); give the dataset's json file") from None
    except (ValueError, KeyError, TypeError, AttributeError, OverflowError, RecursionError) as error:
        reason = " ".join(f"{type(error).__name__} {error}".split())
        raise UserError(
            f'{path}: not of the form {{"classes": [names], "videos": [{{"name": ..., "nframes": ...}}]}} ({reason})'
        ) from None


def csv_form(path: str | Path) -> str:
    """Return which of ``FORMS`` a csv has, by its header.

    Raises:
        UserError: no such file, or none of the forms.
    """
    header = {name.strip() for _, fields in islice(raw_csv_lines(path), 1) for name in fields}
    for form, needed in FORMS.items():
        if header >= set(needed):
            return form
    wanted = "; or ".join(",".join(columns) for columns in FORMS.values())
    found = ",".join(" ".join(name.split()) for name in sorted(header))
    raise UserError(f"{path}: row 1: a header is expected: {wanted}; found {found[:80]}")


def read_tubes(path: str | Path, videos: Sequence[str] | None = None, truth: bool = False) -> Tubes:
    """Read a csv of tubes, one row a frame; tubes stay in the order of their first rows.

    Args:
        videos: names that may occur, in order; None: those of the file, in order.
        truth: ground truth, which has no score and must have finite boxes with x1 <= x2 and y1 <= y2.

    Raises:
        UserError: names the file and the row.
    """
    table = _Table(path, GROUND_TRUTH if truth else TUBES)
    names, video = table.videos(videos)
    label, frame = table.whole("class", 0), table.whole("frame", 1)
    boxes = table.boxes(finite=truth)
    if truth and len(boxes):
        table.refuse((boxes[:, 2:] < boxes[:, :2]).any(1), "the box is inverted; write x1 <= x2 and y1 <= y2")
    score = np.ones(len(video)) if truth else table.score()
    tube_name = table.columns["tube"]
    keys: dict[tuple[int, int, str], int] = {}
    tube = np.array(
        [
            keys.setdefault(key, len(keys))
            for key in zip(video.tolist(), label.tolist(), tube_name, strict=True)
        ],
        dtype=np.int64,
    )
    order = np.lexsort((frame, tube))
    twice = (np.diff(tube[order]) == 0) & (np.diff(frame[order]) == 0)
    table.refuse(_scattered(order[1:][twice], len(tube)), "this frame of the tube was given before")
    first = np.full(len(keys), len(tube), dtype=np.int64)
    np.minimum.at(first, tube, np.arange(len(tube)))
    table.refuse(score != score[first[tube]], "the score of a tube must be the same in all of its rows")
    return Tubes(
        names,
        video[first],
        label[first],
        score[first],
        np.concatenate([[0], np.cumsum(np.bincount(tube, minlength=len(keys)))]).astype(np.int64),
        frame[order],
        boxes[order],
        tuple(key[2] for key in keys),
    )


def read_frames(path: str | Path, videos: Sequence[str] | None = None) -> FrameBoxes:
    """Read a csv of detections of single frames, one row a box.

    Raises:
        UserError: names the file and the row.
    """
    table = _Table(path, FRAMES)
    names, video = table.videos(videos)
    return FrameBoxes(
        names, video, table.whole("frame", 1), table.whole("class", 0), table.score(), table.boxes(True)
    )


def read_tubelets(path: str | Path, videos: Sequence[str] | None = None) -> Tubelets:
    """Read a csv of tubelets, K rows each with k = 0 .. K - 1 in order.

    Raises:
        UserError: names the file and the row.
    """
    table = _Table(path, TUBELETS)
    names, video = table.videos(videos)
    k = table.whole("k", 0)
    count = int(k.max()) + 1 if len(k) else 1
    expected = np.arange(len(k)) % count
    table.refuse(k != expected, f"rows of a tubelet must be k = 0 .. {count - 1}, one after the other")
    if len(k) % count:
        raise UserError(f"{path}: the last tubelet ends early; it must have {count} rows")
    first = slice(None, None, count)
    return Tubelets(
        names,
        video[first],
        table.whole("start", 1)[first],
        table.whole("class", 0)[first],
        table.score()[first],
        table.boxes(True).reshape(-1, count, 4),
    )


def write_tubes(path: str | Path, tubes: Tubes) -> None:
    """Write a csv of tubes that ``read_tubes`` reads: coordinates to 3 decimals, scores to 6.

    Raises:
        UserError: it can't be written.
    """
    owner = tubes.owner.tolist()
    with atomic_open(path, newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(TUBES)
        scores = [f"{score:.6f}" for score in tubes.score.tolist()]
        for i, frame, box in zip(owner, tubes.frame.tolist(), tubes.boxes.tolist(), strict=True):
            corners = [f"{value:.3f}".rstrip("0").rstrip(".") if value == value else "nan" for value in box]
            name = text_cell(tubes.videos[tubes.video[i]])
            writer.writerow([name, tubes.label[i], tubes.name[i], frame, *corners, scores[i]])


class _Table:
    """Columns of a csv with a header, as text; numbers on demand, with the row of a fault."""

    def __init__(self, path: str | Path, needed: Sequence[str]) -> None:
        self.path = path
        lines = raw_csv_lines(path)
        header = [name.strip() for name in next(lines, (1, []))[1]]
        absent = [name for name in needed if name not in header]
        if absent:
            raise UserError(
                f"{path}: row 1: no column {', '.join(absent)}; the header should be {','.join(needed)}"
            )
        pick = [header.index(name) for name in needed]
        rows = []
        self.lines = []
        for line, fields in lines:
            if not fields:
                continue
            if len(fields) != len(header):
                raise UserError(
                    f"{path}: row {line}: {len(fields)} fields where the header has {len(header)}"
                )
            rows.append(fields)
            self.lines.append(line)
        columns = list(zip(*rows, strict=True)) if rows else [()] * len(header)
        self.columns = {name: columns[i] for name, i in zip(needed, pick, strict=True)}

    def refuse(self, bad: np.ndarray, why: str) -> None:
        """Raise for the first row that is ``bad``."""
        if bad.any():
            raise UserError(f"{self.path}: row {self.lines[int(np.argmax(bad))]}: {why}")

    def number(self, name: str) -> np.ndarray:
        """A column as float64."""
        try:
            return np.array(self.columns[name], dtype=np.float64)
        except ValueError:
            bad = np.array([not is_number(text) for text in self.columns[name]])
            text = self.columns[name][int(np.argmax(bad))]
            self.refuse(bad, f"{name} {text!r:.60} is no number")
            raise

    def whole(self, name: str, least: int) -> np.ndarray:
        """A column as int64."""
        values = self.number(name)
        with np.errstate(invalid="ignore"):
            bad = ~np.isfinite(values) | (values != np.floor(values)) | (values < least) | (values > 2**31)
        self.refuse(bad, f"{name} must be a whole number from {least} on")
        return values.astype(np.int64)

    def score(self) -> np.ndarray:
        """The scores, finite."""
        values = self.number("score")
        self.refuse(~np.isfinite(values), "score must be a finite number")
        return values

    def boxes(self, finite: bool) -> np.ndarray:
        """(n, 4) boxes; a hole (all four NaN) is allowed where ``finite`` is False."""
        boxes = np.stack([self.number(name) for name in BOX], axis=1)
        bad = np.isinf(boxes).any(1) | (np.isnan(boxes).any(1) & ~np.isnan(boxes).all(1))
        if finite:
            bad |= np.isnan(boxes).any(1)
        self.refuse(bad, "x1, y1, x2, y2 must be finite numbers of pixels")
        return boxes

    def videos(self, known: Sequence[str] | None) -> tuple[tuple[str, ...], np.ndarray]:
        """Names of videos and each row's index among them."""
        index = {name: i for i, name in enumerate(known or ())}
        if known is None:
            for name in self.columns["video"]:
                index.setdefault(name, len(index))
        found = np.array([index.get(name, -1) for name in self.columns["video"]], dtype=np.int64)
        if (found < 0).any():
            name = self.columns["video"][int(np.argmax(found < 0))]
            self.refuse(found < 0, f"video {name!r:.60} is not among the {len(index)} videos of the dataset")
        return tuple(index), found


def _scattered(rows: np.ndarray, count: int) -> np.ndarray:
    mask = np.zeros(count, dtype=bool)
    mask[rows] = True
    return mask
