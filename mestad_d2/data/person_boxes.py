"""Boxes of people from a detector's file, as proposals for the action head or as annotations without actions."""

from __future__ import annotations

import csv
import math
from collections import defaultdict
from pathlib import Path

import numpy as np

from mestad_d2.data.coco_boxes import read_coco_boxes
from mestad_d2.errors import UserError
from mestad_d2.formats.ava_csv import AnnotationRow, annotation_rows, csv_lines, number
from mestad_d2.formats.csv_cells import text_cell, without_guard
from mestad_d2.formats.files import atomic_open
from mestad_d2.formats.safe_pickle import read_arrays
from mestad_d2.people import People

# (video, timestamp rounded to ms) -> people with boxes as fractions of the frame.
PersonBoxes = dict[tuple[str, float], People]
# The same while it is read: (N, 5) float64, box and score.
BoxArrays = dict[tuple[str, float], np.ndarray]
# Endings of files that are read as a detector's boxes; all others are csv rows.
PICKLES = (".pkl", ".pickle")
BOX_FILES = (*PICKLES, ".json")


def read_person_boxes(path: str | Path, min_score: float = 0.0) -> PersonBoxes:
    """Read (video, timestamp rounded to ms) -> people with boxes, as fractions of the frame, and scores.

    Args:
        path: csv ``video,timestamp,x1,y1,x2,y2,<anything>,score`` (or without the seventh column), a
            pickle of ``"video,timestamp" -> (N, 5)`` or ``("video", timestamp) -> (N, 5)``, or COCO json
            (``read_coco_boxes``). A csv row without a box is a key frame without people.
        min_score: boxes below it are left out.

    Raises:
        UserError: names file and row; scores outside [0, 1], or that are person ids.
    """
    suffix = Path(path).suffix.lower()
    if suffix in PICKLES:
        found = _read_pickle(path)
    elif suffix == ".json":
        found = {key: np.array(boxes) for key, boxes in read_coco_boxes(path).items()}
        for key, boxes in found.items():
            _check(f"{path}: boxes of {key[0]} at {key[1]:g}", boxes)
    else:
        found = _read_csv(path)
    _check_all(path, found)
    return {
        (video, time): People(time, boxes[:, :4], boxes[:, 4]).select(boxes[:, 4] >= min_score)
        for (video, time), boxes in found.items()
    }


def _read_csv(path: str | Path) -> BoxArrays:
    rows: dict[tuple[str, float], list[list[float]]] = defaultdict(list)
    for row, fields in csv_lines(str(path)):
        if len(fields) in (2, 7, 8) and not any(fields[2:]):
            # A key frame without people, in AVA's form.
            rows[without_guard(fields[0]), round(number(str(path), row, fields[1], "timestamp"), 3)] += []
            continue
        if len(fields) not in (7, 8):
            raise UserError(
                f"{path}: row {row}: {len(fields)} fields; write video,timestamp,x1,y1,x2,y2,,score"
            )
        time = number(str(path), row, fields[1], "timestamp")
        names = ("x1", "y1", "x2", "y2", "score")
        values = [
            number(str(path), row, t, n) for t, n in zip([*fields[2:6], fields[-1]], names, strict=True)
        ]
        _check(f"{path}: row {row}", np.array([values]))
        rows[without_guard(fields[0]), round(time, 3)].append(values)
    return {key: np.array(values).reshape(-1, 5) for key, values in rows.items()}


def _read_pickle(path: str | Path) -> BoxArrays:
    content = read_arrays(path)
    if not isinstance(content, dict):
        raise UserError(f'{path}: a {type(content).__name__}; write a dict "video,timestamp" -> (N, 5) array')
    found = {}
    for key, value in content.items():
        # People write ("video", 902) as well.
        video, second = key if isinstance(key, tuple) and len(key) == 2 else str(key).rpartition(",")[::2]
        video = str(video)
        where = f"{path}: entry {key!r:.80}"
        try:
            time, boxes = float(second), np.asarray(value, dtype=np.float64)
        except (ValueError, TypeError, OverflowError) as error:
            raise UserError(f'{where}: write "video,timestamp" -> (N, 5) array') from error
        if not video or not math.isfinite(time):
            raise UserError(f'{where}: write "video,timestamp"')
        if boxes.size == 0:
            boxes = np.zeros((0, 5))
        # A flat row of five numbers is one box; an (N, 4) array is boxes without scores.
        boxes = boxes[None] if boxes.shape == (5,) else boxes
        if boxes.ndim != 2 or boxes.shape[1] != 5:
            raise UserError(
                f"{where}: an array of shape {boxes.shape}; write (N, 5), x1, y1, x2, y2 and score"
            )
        _check(where, boxes)
        found[video, round(time, 3)] = boxes
    return found


def _check(where: str, boxes: np.ndarray) -> None:
    if not np.isfinite(boxes).all():
        raise UserError(f"{where}: a number that is not finite")
    if np.abs(boxes[:, :4]).max(initial=0) > 2:
        raise UserError(f"{where}: boxes in pixels? Divide x by the width and y by the height")
    scores = boxes[:, 4]
    wrong = scores[(scores < 0) | (scores > 1)]
    if len(wrong):
        raise UserError(
            f"{where}: score {wrong[0]:g} is outside [0, 1]; a person id? Write the detector's score"
        )


def _check_all(path: str | Path, found: BoxArrays) -> None:
    """Check properties of all boxes together."""
    every = np.concatenate([np.zeros((0, 5)), *found.values()])
    if not len(every):
        return
    scores = every[:, 4]
    if (scores == np.round(scores)).all() and (scores == 0).any():
        raise UserError(
            f"{path}: all scores are 0 or 1; person ids? Write the detector's scores as the last column"
        )
    empty = (every[:, 2:4] <= every[:, :2]).any(axis=1)
    if empty.mean() > 0.2:
        raise UserError(
            f"{path}: {empty.sum()} of {len(every)} boxes are empty; x,y,width,height? Write x1,y1,x2,y2"
        )


def write_person_boxes(path: str | Path, found: PersonBoxes) -> None:
    """Write boxes as csv ``video,timestamp,x1,y1,x2,y2,,score``, which ``read_person_boxes`` reads.

    Key frames without people have a row without a box.

    Args:
        path: file to write.
        found: (video, timestamp) -> people with boxes and scores.
    """
    with atomic_open(path, newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        for (video, time), people in found.items():
            if not len(people):
                writer.writerow([text_cell(video), f"{time:.3f}", *[""] * 6])
            for box, score in zip(people.fractions(), people.scores, strict=True):
                corners = [f"{v:.4f}" for v in box]
                writer.writerow([text_cell(video), f"{time:.3f}", *corners, "", f"{score:.4f}"])


def nobody(timestamp: float) -> People:
    """Return the people of an empty frame."""
    return People(timestamp, np.zeros((0, 4)), np.zeros(0))


def attach_person_boxes(dicts: list[dict], found: PersonBoxes, path: str | Path) -> None:
    """Add ``person_boxes``, people in pixels of the video, to each dataset dict; nobody where the file has none.

    Raises:
        UserError: no key frame of the dataset is in the file.
    """
    hits = 0
    for item in dicts:
        people = found.get((item["video_id"], round(item["timestamp"], 3)))
        hits += people is not None
        people = nobody(item["timestamp"]) if people is None else people
        item["person_boxes"] = people.resized(item["height"], item["width"])
    if dicts and not hits:
        raise UserError(
            f"{path}: no box of any of the dataset's {len(dicts)} key frames; compare video ids and timestamps"
        )


def read_people(path: str | Path, min_score: float = 0.0) -> list[AnnotationRow]:
    """Read rows of people with ``action_id`` 0, and of key frames without people.

    Args:
        path: csv ``video,timestamp,x1,y1,x2,y2,,person_id`` or ``...,,score``, where actions in the seventh field
            are ignored; or a detector's pickle or COCO json (``read_person_boxes``).
        min_score: people whose score is lower are left out, their key frames are kept.

    Raises:
        UserError: names file and row.
    """
    if Path(path).suffix.lower() in BOX_FILES:
        return [
            row
            for (video, time), people in read_person_boxes(path, min_score).items()
            for row in (
                [
                    AnnotationRow(video, time, tuple(box.tolist()), 0, -1, float(score))
                    for box, score in zip(people.boxes, people.scores, strict=True)
                ]
                or [AnnotationRow(video, time, None, 0)]
            )
        ]
    rows = []
    for _, _, row in annotation_rows(path, persons_only=True):
        sure = row.confidence is None or row.confidence >= min_score
        box = row.box if sure else None
        rows.append(AnnotationRow(row.video_id, row.timestamp, box, 0, row.person_id, row.confidence))
    return rows
