"""Convert other datasets' annotations to AVA's csv format."""

from __future__ import annotations

import math
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from mestad_d2.data.prepare.rates import Clock
from mestad_d2.errors import UserError, counted
from mestad_d2.formats.ava_csv import AnnotationRow
from mestad_d2.formats.csv_cells import csv_field
from mestad_d2.formats.files import write_text


@dataclass(frozen=True)
class Timing:
    """Which frames are key frames: of the frames counted from 0 every ``step``-th; ``clock`` tells their times.

    ``every_instance``: an instance that no such frame shows gets the frame in its middle as a key frame.
    """

    clock: Clock
    step: int
    every_instance: bool = False

    def __post_init__(self) -> None:
        if self.step < 1:
            raise UserError(f"--step {self.step}: give at least 1")

    def key_frames(self, video: str, instances: Sequence[Sequence[int]]) -> dict[int, float]:
        """Return the key frames of a video with their times in s; instances are on the given frames, from 0."""
        frames = {frame for shown in instances for frame in shown if frame % self.step == 0}
        if self.every_instance:
            for shown in instances:
                if shown and not frames.intersection(shown):
                    frames.add(sorted(shown)[len(shown) // 2])
        order = sorted(frames)
        times = self.clock.seconds(video, order)
        return {frame: time for frame, time in zip(order, times, strict=True) if time is not None}


@dataclass
class Tally:
    """What a converter did with the instances of a split."""

    instances: int = 0
    without_row: int = 0
    classes: set[int] = field(default_factory=set)
    classes_with_row: set[int] = field(default_factory=set)

    def add(self, action: int, has_row: bool) -> None:
        """Count one instance."""
        self.instances += 1
        self.without_row += not has_row
        self.classes.add(action)
        if has_row:
            self.classes_with_row.add(action)

    def lines(self) -> list[str]:
        """Return notes for the user, one line each; empty where all instances have rows."""
        if not self.without_row:
            return []
        lost = len(self.classes - self.classes_with_row)
        classes = f" and {lost} of {len(self.classes)} classes no row" if lost else ""
        return [
            f"{self.without_row} of {self.instances} instances have no key frame{classes}; "
            "use a smaller --step or --every-instance"
        ]


def write_labels(labels: Iterable[AnnotationRow], path: Path) -> tuple[int, int]:
    """Write rows in order of video and time; boxes are cut to the frame and empty ones left out.

    Returns:
        numbers of rows written and left out.

    Raises:
        UserError: there is no row to write, or the file can't be written.
    """
    lines, empty = [], 0
    order = sorted(labels, key=_order)
    for label in order:
        head = [csv_field(label.video_id), f"{label.timestamp:.3f}"]
        if label.box is None:
            lines.append(",".join([*head, "", "", "", "", "", ""]))
            continue
        texts = [_coordinate(min(max(value, 0.0), 1.0)) for value in label.box]
        x1, y1, x2, y2 = (round(min(max(value, 0.0), 1.0), 4) for value in label.box)
        if not (x1 < x2 and y1 < y2):
            empty += 1
            continue
        sure = [] if label.confidence is None else [f"{label.confidence:.4f}"]
        lines.append(",".join([*head, *texts, str(label.action_id), str(label.person_id), *sure]))
    lines = list(dict.fromkeys(lines))
    if not lines:
        raise UserError(
            f"{path}: not written, as there is no row ({empty} boxes are empty); check what was given"
        )
    write_text(path, "".join(f"{line}\n" for line in lines))
    return len(lines), empty


def _order(label: AnnotationRow) -> tuple:
    return label.video_id, label.timestamp, label.person_id, label.action_id, label.box or ()


def _coordinate(value: float) -> str:
    """Six places, of which zeros behind the fourth are left out: a twentieth of a pixel of the largest videos."""
    text = f"{value:.6f}"
    return text[:-2] + text[-2:].rstrip("0")


def write_label_map(names: Mapping[int, str], path: Path) -> None:
    """Write lines ``1: name``."""
    write_text(path, "".join(f"{i}: {' '.join(str(name).split())}\n" for i, name in sorted(names.items())))


def write_splits(
    splits: Mapping[Path, tuple[Sequence[str], Sequence[AnnotationRow], Tally]],
    names: Mapping[int, str],
    label_map: Path,
    clock: Clock,
) -> None:
    """Write the splits of a dataset and its label map, and say what was done; nothing where a split has no row.

    Args:
        splits: csv -> (videos, labels, what became of the instances); one without videos is left out.

    Raises:
        UserError: a split has videos, but no row; no split has videos.
    """
    for path, (videos, labels, _) in splits.items():
        if videos and not labels:
            raise UserError(
                f"{path}: not written, as none of its {len(videos)} videos has a key frame; lower --step"
            )
    if not any(videos for videos, _, _ in splits.values()):
        raise UserError(f"{label_map.parent}: nothing written, as no video has labels; check what was given")
    write_label_map(names, label_map)
    for path, (videos, labels, tally) in splits.items():
        if not videos:
            print(f"note: {path}: not written, as no video of this split has labels", file=sys.stderr)
            continue
        rows, empty = write_labels(labels, path)
        parts = (
            counted(len(videos), "video"),
            counted(rows, "row"),
            counted(empty, "empty box", "empty boxes"),
        )
        print(f"{path}: {', '.join(parts)} left out")
        for line in tally.lines():
            print(f"note: {path}: {line}", file=sys.stderr)
    for line in clock.lines():
        print(f"note: {line}", file=sys.stderr)


def tube_labels(
    content: Mapping[str, Any], videos: Iterable[str], timing: Timing, tally: Tally | None = None
) -> Iterator[AnnotationRow]:
    """Convert a pickle of tubes (``UCF101v2-GT``, ``JHMDB-GT``, ``multisports_GT``) to AVA rows.

    Args:
        content: ``labels`` (names), ``resolution`` (video -> height, width) and ``gttubes``: video ->
            class from 0 -> list of (N, 5) arrays ``frame from 1, x1, y1, x2, y2`` in pixels.
        videos: those wanted.
        timing: which frames become key frames.
        tally: counts instances.

    Raises:
        UserError: an entry lacks something; names the video.
    """
    tally = tally or Tally()
    for video in videos:
        with _naming(video):
            height, width = content["resolution"][video]
            tubes = [
                (int(action) + 1, np.asarray(tube, dtype=np.float64).reshape(-1, 5).tolist())
                for action, found in sorted(content["gttubes"][video].items()) for tube in found
            ]  # fmt: skip
            keys = timing.key_frames(video, [[int(row[0]) - 1 for row in tube] for _, tube in tubes])
            for person, (action, tube) in enumerate(tubes):
                shown = [row for row in tube if int(row[0]) - 1 in keys]
                tally.add(action, bool(shown))
                for frame, *box in shown:
                    time = keys[int(frame) - 1]
                    yield AnnotationRow(video, time, _scaled(box, width, height), action, person)


def ucf24_labels(
    content: Mapping[str, Any],
    videos: Iterable[str],
    timing: Timing,
    size: tuple[int, int] = (240, 320),
    tally: Tally | None = None,
) -> Iterator[AnnotationRow]:
    """Convert the corrected UCF101-24 annotations (``pyannot.pkl``) to AVA rows.

    Args:
        content: video -> ``annotations``: list of ``sf`` (first frame, from 0), ``ef``, ``label`` (class from
            0) and ``boxes`` (N, 4) ``x, y, width, height`` in pixels.
        videos: those wanted.
        timing: which frames become key frames.
        size: height and width that the boxes refer to.
        tally: counts instances.

    Raises:
        UserError: an entry lacks something; names the video.
    """
    tally = tally or Tally()
    for video in videos:
        with _naming(video):
            # Files lie side by side, not in folders of classes.
            name = video.rpartition("/")[2]
            tubes = [
                (
                    int(tube["label"]) + 1,
                    int(tube["sf"]),
                    np.asarray(tube["boxes"], dtype=np.float64).tolist(),
                )
                for tube in content[video]["annotations"]
            ]
            keys = timing.key_frames(name, [range(first, first + len(boxes)) for _, first, boxes in tubes])
            for person, (action, first, boxes) in enumerate(tubes):
                shown = [(first + i, box) for i, box in enumerate(boxes) if first + i in keys]
                tally.add(action, bool(shown))
                for frame, (x, y, w, h) in shown:
                    box = _scaled((x, y, x + w, y + h), size[1], size[0])
                    yield AnnotationRow(name, keys[frame], box, action, person)


def ucf24_names(content: Mapping[str, Any]) -> dict[int, str]:
    """Return the label map of ``pyannot.pkl``: ids by the labels in it, so that a part of the videos keeps the whole's ids.

    Raises:
        UserError: two classes have one label, or a class has two.
    """
    names: dict[int, str] = {}
    for video, entry in content.items():
        with _naming(video):
            folder = video.partition("/")[0]
            for number in {int(tube["label"]) + 1 for tube in entry["annotations"]}:
                if names.setdefault(number, folder) != folder:
                    raise ValueError(f"label {number - 1} is {names[number]} and {folder}")
    if len(set(names.values())) < len(names):
        raise UserError("a class has two labels; use the annotations as they are published")
    return names


def class_names(names: Iterable[Any]) -> dict[int, str]:
    """Return the label map of a list of class names: ids from 1."""
    return {i: str(name) for i, name in enumerate(names, start=1)}


class _naming:
    """Turn exceptions of malformed entries into a ``UserError`` that names the entry."""

    def __init__(self, entry: str) -> None:
        self.entry = entry

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: type | None, error: BaseException | None, trace: object) -> None:
        if isinstance(error, UserError):
            # A ValueError too, but it says by itself what is wrong.
            return
        if isinstance(error, (KeyError, TypeError, ValueError, AttributeError, IndexError, ArithmeticError)):
            reason = " ".join(f"{type(error).__name__} {error}".split())
            raise UserError(f"{self.entry}: not of the expected layout ({reason}); see --help") from error


def _scaled(box: Iterable[float], width: float, height: float) -> tuple[float, float, float, float]:
    x1, y1, x2, y2 = box
    scaled = (x1 / width, y1 / height, x2 / width, y2 / height)
    if not all(map(math.isfinite, scaled)):
        raise ValueError(f"box {scaled}")
    return scaled
