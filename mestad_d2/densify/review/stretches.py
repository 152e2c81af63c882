"""Rank stretches for the review, with pictures."""

from __future__ import annotations

import base64
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from mestad_d2.densify.confidence import reasons
from mestad_d2.densify.detections.video import DetectedVideo
from mestad_d2.densify.pipeline import Dense, DenseRow
from mestad_d2.densify.stretch import ActorLabels, Stretch
from mestad_d2.video.frames import read_frames

PICTURES = 7
PICTURE_HEIGHT = 220
# Colours (RGB) of the written box, of the teacher's own and of other people.
WRITTEN, TEACHER, OTHERS = (255, 176, 0), (90, 200, 250), (150, 150, 150)
# An actor's confidence is the mean over this least confident part of its rows.
LOWEST = 0.2


@dataclass(frozen=True)
class Card:
    """An actor of a stretch: ``sure`` is the mean confidence of its least sure rows; ``why`` in words."""

    stretch: Stretch
    labels: ActorLabels
    rows: list[DenseRow]
    sure: float
    why: list[str]


def cards(dense: Dense) -> list[Card]:
    """Return one card per person between two key frames, the least confident first."""
    groups: dict[tuple[int, int], list[DenseRow]] = defaultdict(list)
    for row in dense.rows:
        groups[(row.stretch, row.actor)].append(row)
    mean = (
        np.mean([row.features for row in dense.rows], axis=0) if dense.rows else np.zeros(len(dense.weights))
    )
    found = []
    for (stretch, actor), rows in groups.items():
        order = sorted(rows, key=lambda row: row.row.confidence)
        low = order[: max(round(LOWEST * len(order)), 1)]
        sign = np.mean([row.features for row in low], axis=0)
        labels = dense.stretches[stretch].actors[actor]
        sure = float(np.mean([row.row.confidence for row in low]))
        found.append(Card(dense.stretches[stretch], labels, rows, sure, reasons(sign, dense.weights, mean)))
    return sorted(found, key=lambda card: card.sure)


@dataclass(frozen=True)
class Picture:
    """A frame of the film strip: ``time`` in s of the csv, ``jpeg`` as base64, ``key`` on key frames."""

    time: float
    jpeg: str
    key: bool


def film_strip(card: Card, video: DetectedVideo) -> list[Picture]:
    """Draw both key frames and some frames between: written box, the teacher's, other people's.

    Raises:
        UserError: the video can't be read.
    """
    stretch, times = card.stretch, card.stretch.detected.times
    places = np.unique(np.linspace(0, len(times) - 1, PICTURES).round().astype(int))
    seconds = [float(times[place] - video.source.start) for place in places]
    images = read_frames(video.source, seconds)
    pictures = []
    for place, image in zip(places, images, strict=True):
        key = place in (0, len(times) - 1)
        pictures.append(Picture(float(times[place]), _jpeg(image, stretch, card.labels, int(place)), key))
    return pictures


def _jpeg(image: np.ndarray, stretch: Stretch, shown: ActorLabels, place: int) -> str:
    scale = PICTURE_HEIGHT / image.shape[0]
    image = cv2.resize(
        image, (max(round(image.shape[1] * scale), 1), PICTURE_HEIGHT), interpolation=cv2.INTER_AREA
    )
    for labels in stretch.actors:
        if labels is not shown and labels.there[place] >= 0.5:
            _draw(image, labels.boxes[place], OTHERS, 1)
    if shown.track.seen[place]:
        _draw(image, shown.track.boxes[place], TEACHER, 1)
    if shown.there[place] >= 0.5:
        _draw(image, shown.boxes[place], WRITTEN, 2)
    done, data = cv2.imencode(".jpg", np.ascontiguousarray(image[:, :, ::-1]), [cv2.IMWRITE_JPEG_QUALITY, 80])
    return base64.b64encode(data.tobytes()).decode() if done else ""


def _draw(image: np.ndarray, box: Sequence[float], color: tuple[int, int, int], line: int) -> None:
    size = np.array([image.shape[1], image.shape[0]] * 2)
    x1, y1, x2, y2 = (round(float(v)) for v in np.asarray(box) * size)
    if line > 1:
        # A dark rim keeps the box visible on a background of its own colour.
        cv2.rectangle(image, (x1, y1), (x2, y2), (0, 0, 0), line + 2)
    cv2.rectangle(image, (x1, y1), (x2, y2), color, line)
