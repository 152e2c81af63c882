"""Boxes, actions and scores on a frame."""

from __future__ import annotations

import colorsys
from dataclasses import dataclass
from functools import lru_cache

import cv2
import numpy as np
from PIL import Image, ImageDraw, ImageFont

from mestad_d2.inference.results.fonts import default_font, font_for
from mestad_d2.inference.results.label_placement import place_labels

# Frames with a shorter side below this are enlarged for the output, or labels would not fit.
MIN_SHORT_SIDE = 480
# Longer names are cut: AVA's reach 40 letters, which cover half of a small frame.
MAX_LETTERS = 26


@dataclass(frozen=True)
class NamedPerson:
    """A person to draw: ``box`` in pixels, ``actions`` as (name, score), best first."""

    box: np.ndarray
    score: float
    track_id: int
    actions: list[tuple[str, float]]


def track_color(track_id: int) -> tuple[int, int, int]:
    """Return the RGB colour of a track; successive numbers lie far apart on the colour circle."""
    hue = (0.58 + track_id * 0.61803398875) % 1.0
    # Yellow and green look brighter than blue at equal value: white text on them needs darker ones.
    value = 0.95 if hue > 0.5 else 0.8
    return tuple(round(255 * c) for c in colorsys.hsv_to_rgb(hue, 0.85, value))


def output_size(height: int, width: int) -> tuple[int, int]:
    """Return the even height and width of the output: the frame's own, or enlarged by a whole factor."""
    factor = max(1, round(MIN_SHORT_SIDE / min(height, width)))
    return max(2, height * factor // 2 * 2), max(2, width * factor // 2 * 2)


def fit(image: np.ndarray, height: int, width: int) -> np.ndarray:
    """Resize (H, W, 3) uint8; a copy in any case."""
    if image.shape[:2] == (height, width):
        return image.copy()
    larger = height > image.shape[0]
    return cv2.resize(image, (width, height), interpolation=cv2.INTER_CUBIC if larger else cv2.INTER_AREA)


class Annotator:
    """Draw the people of successive frames; labels keep their positions between frames.

    Args:
        max_actions: lines of a label, at most.
        max_labels: people with a label, at most, those with the highest scores; the others have their box alone.
    """

    def __init__(self, max_actions: int = 5, max_labels: int | None = None) -> None:
        self.max_actions, self.max_labels = max_actions, max_labels
        self._offsets: dict[int, tuple[float, float]] = {}

    def draw(self, image: np.ndarray, people: list[NamedPerson]) -> np.ndarray:
        """Draw on ``image`` (H, W, 3) uint8 RGB in place and return it.

        Boxes are in pixels of this image. Crowded frames show fewer actions a person.
        """
        height, width = image.shape[:2]
        size = int(np.clip(min(height, width) / 34, 13, 40))
        line = max(2, round(min(height, width) / 240))
        rows = self.max_actions if len(people) <= 3 else min(3 if len(people) <= 6 else 2, self.max_actions)
        people = sorted(people, key=lambda p: p.track_id)
        for person in people:
            _rectangle(image, _inside(person, height, width), track_color(person.track_id), line)
        if self.max_labels is not None:
            best = sorted(people, key=lambda p: -p.score)[: self.max_labels]
            people = sorted(best, key=lambda p: p.track_id)
        labels = [_label(p, size, rows) for p in people]
        boxes = np.array([_inside(p, height, width) for p in people], dtype=np.float64).reshape(-1, 4)
        before = [self._offsets.get(p.track_id) for p in people]
        sizes = [(label.shape[1], label.shape[0]) for label in labels]
        corners = place_labels(boxes, sizes, height, width, before, gap=line)
        for person, box, label, corner in zip(people, boxes, labels, corners, strict=True):
            _pointer(image, box, label, corner, track_color(person.track_id), line)
        for label, (x, y) in zip(labels, corners, strict=True):
            part = image[y : y + label.shape[0], x : x + label.shape[1]]
            part[:] = label[: part.shape[0], : part.shape[1]]
        self._offsets = {
            p.track_id: (c[0] - b[0], c[1] - b[1]) for p, b, c in zip(people, boxes, corners, strict=True)
        }
        return image


def _inside(person: NamedPerson, height: int, width: int) -> np.ndarray:
    """The box of a person, cut to the frame."""
    return np.clip(person.box.astype(np.float64), 0, [width - 1, height - 1, width - 1, height - 1])


def _rectangle(image: np.ndarray, box: np.ndarray, color: tuple[int, int, int], line: int) -> None:
    x1, y1, x2, y2 = (round(v) for v in box.tolist())
    # A dark rim keeps the box visible before a background of its own colour.
    cv2.rectangle(image, (x1, y1), (x2, y2), (0, 0, 0), line + 2, cv2.LINE_AA)
    cv2.rectangle(image, (x1, y1), (x2, y2), color, line, cv2.LINE_AA)


def _pointer(
    image: np.ndarray, box: np.ndarray, label: np.ndarray, corner: np.ndarray, color, line: int
) -> None:
    """A line from a displaced label to its box."""
    a1, a2 = corner, corner + (label.shape[1], label.shape[0])
    start = np.clip((box[:2] + box[2:]) / 2, a1, a2)
    end = np.clip(start, box[:2], box[2:])
    if np.abs(start - end).max() <= 3 * line:
        return
    start, end = tuple(int(v) for v in start), tuple(int(v) for v in end)
    cv2.line(image, start, end, (0, 0, 0), line + 2, cv2.LINE_AA)
    cv2.line(image, start, end, color, line, cv2.LINE_AA)
    cv2.circle(image, end, 2 * line, color, -1, cv2.LINE_AA)


def _label(person: NamedPerson, size: int, rows: int) -> np.ndarray:
    shown = tuple((short_name(name), f"{score:.2f}") for name, score in person.actions[:rows])
    more = len(person.actions) - len(shown)
    return _render(
        f"#{person.track_id} person", f"{person.score:.2f}", shown, more, track_color(person.track_id), size
    )


def short_name(name: str) -> str:
    """Shorten a name to at most ``MAX_LETTERS`` letters."""
    return name if len(name) <= MAX_LETTERS else name[: MAX_LETTERS - 1].rstrip(" ,(") + "\u2026"


@lru_cache(maxsize=512)
def _render(
    title: str,
    score: str,
    actions: tuple[tuple[str, str], ...],
    more: int,
    color: tuple[int, int, int],
    size: int,
) -> np.ndarray:
    """A label (h, w, 3): title on the track's colour, below it actions with bars as long as their scores."""
    face, pad = font(size), max(2, size // 4)
    lines = [(title, score), *actions] + ([(f"+{more} more", "")] if more > 0 else [])
    faces = [font_for(name, size) for name, _ in lines]
    left = [own.getlength(name) for own, (name, _) in zip(faces, lines, strict=True)]
    right = [face.getlength(value) for _, value in lines]
    row = max(sum(each.getmetrics()) for each in [face, *faces])
    width = round(max(left) + max(right) + 3 * pad + size // 2)
    picture = Image.new("RGB", (width, row * len(lines) + pad), (24, 24, 28))
    pen = ImageDraw.Draw(picture)
    pen.rectangle((0, 0, width, row - 1), fill=color)
    dim = tuple(round(0.55 * c) for c in color)
    # Dark text on bright colours: white on yellow can't be read.
    title_ink = (0, 0, 0) if np.dot(color, (0.299, 0.587, 0.114)) > 140 else (255, 255, 255)
    for index, (name, value) in enumerate(lines):
        ink = (255, 255, 255) if index else title_ink
        top = index * row
        if index and value:
            pen.rectangle((0, top + 1, round(float(value) * (width - 1)), top + row - 1), fill=dim)
        pen.text((pad, top), name, font=faces[index], fill=ink)
        pen.text((width - pad - face.getlength(value), top), value, font=face, fill=ink)
    return np.asarray(picture)


@lru_cache(maxsize=16)
def font(size: int) -> ImageFont.FreeTypeFont:
    """Return the font of labels, ``size`` pixels high."""
    return ImageFont.truetype(default_font(), size)
