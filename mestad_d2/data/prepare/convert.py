"""Convert other datasets' annotations to AVA's csv format."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from mestad_d2.errors import UserError


@dataclass(frozen=True, order=True)
class Label:
    """One row: ``timestamp`` in s from the file's start, box x1, y1, x2, y2 in [0, 1]."""

    video_id: str
    timestamp: float
    person_id: int
    action_id: int
    box: tuple[float, float, float, float]


@dataclass(frozen=True)
class Timing:
    """``fps`` of the videos; of the frames counted from 0, every ``step``-th is a key frame."""

    fps: float
    step: int

    def __post_init__(self) -> None:
        if not (self.fps > 0 and self.step > 0):
            raise UserError(f"fps {self.fps} and step {self.step} must be above 0")


def write_labels(labels: Iterable[Label], path: Path) -> tuple[int, int]:
    """Write rows in order of video and time; boxes are cut to the frame and empty ones left out.

    Returns:
        numbers of rows written and left out.
    """
    lines, empty = [], 0
    for label in sorted(labels):
        x1, y1, x2, y2 = (min(max(value, 0.0), 1.0) for value in label.box)
        texts = [f"{value:.4f}" for value in (x1, y1, x2, y2)]
        if not (x1 < x2 and y1 < y2) or texts[0] == texts[2] or texts[1] == texts[3]:
            empty += 1
            continue
        time = f"{label.timestamp:.3f}"
        lines.append(",".join([label.video_id, time, *texts, str(label.action_id), str(label.person_id)]))
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(f"{line}\n" for line in dict.fromkeys(lines)), encoding="utf-8")
    return len(lines), empty


def write_label_map(names: Mapping[int, str], path: Path) -> None:
    """Write lines ``1: name``."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(f"{i}: {name}\n" for i, name in sorted(names.items())), encoding="utf-8")


def tube_labels(content: Mapping[str, Any], videos: Iterable[str], timing: Timing) -> Iterator[Label]:
    """Convert a pickle of tubes (``UCF101v2-GT``, ``JHMDB-GT``, ``multisports_GT``) to AVA rows.

    Args:
        content: ``labels`` (names), ``resolution`` (video -> height, width) and ``gttubes``: video ->
            class from 0 -> list of (N, 5) arrays ``frame from 1, x1, y1, x2, y2`` in pixels.
        videos: those wanted.
        timing: which frames become key frames.

    Raises:
        UserError: an entry lacks something; names the video.
    """
    for video in videos:
        person = 0
        with _naming(video):
            height, width = content["resolution"][video]
            for action, tubes in sorted(content["gttubes"][video].items()):
                for tube in tubes:
                    for frame, *box in np.asarray(tube, dtype=np.float64).reshape(-1, 5).tolist():
                        if (int(frame) - 1) % timing.step == 0:
                            scaled = _scaled(box, width, height)
                            yield Label(video, (frame - 1) / timing.fps, person, int(action) + 1, scaled)
                    person += 1


def ucf24_labels(
    content: Mapping[str, Any], videos: Iterable[str], timing: Timing, size: tuple[int, int] = (240, 320)
) -> Iterator[Label]:
    """Convert the corrected UCF101-24 annotations (``pyannot.pkl``) to AVA rows.

    Args:
        content: video -> ``annotations``: list of ``sf`` (first frame, from 0), ``ef``, ``label`` (class from
            0) and ``boxes`` (N, 4) ``x, y, width, height`` in pixels.
        videos: those wanted.
        timing: which frames become key frames.
        size: height and width that the boxes refer to.

    Raises:
        UserError: an entry lacks something; names the video.
    """
    for video in videos:
        with _naming(video):
            for person, tube in enumerate(content[video]["annotations"]):
                for offset, (x, y, w, h) in enumerate(np.asarray(tube["boxes"], dtype=np.float64).tolist()):
                    frame = int(tube["sf"]) + offset
                    if frame % timing.step == 0:
                        box = _scaled((x, y, x + w, y + h), size[1], size[0])
                        # Files lie side by side, not in folders of classes.
                        name = video.rpartition("/")[2]
                        yield Label(name, frame / timing.fps, person, int(tube["label"]) + 1, box)


def coco_labels(content: Mapping[str, Any], timing: Timing, first_frame: int = 0) -> Iterator[Label]:
    """Convert COCO-style json for videos to AVA rows.

    Args:
        content: ``videos`` (``id``, ``file_name`` or ``name``, optional ``fps``), ``images`` (``id``,
            ``video_id``, ``frame_id`` or ``frame_index``, ``width``, ``height``), ``annotations``
            (``image_id``, ``category_id``, ``bbox`` x, y, width, height in pixels, optional ``track_id`` or
            ``instance_id``), ``categories``.
        timing: which frames become key frames; a video's own ``fps`` comes first.
        first_frame: number of a video's first frame.

    Raises:
        UserError: an entry lacks something; names it.
    """
    with _naming("videos, images"):
        videos = {video["id"]: video for video in content["videos"]}
        images = {image["id"]: image for image in content["images"]}
        shift = 1 - min([1, *(category["id"] for category in content["categories"])])
    for annotation in content.get("annotations", []):
        with _naming(f"annotation {annotation.get('id')}"):
            image = images[annotation["image_id"]]
            video = videos[image["video_id"]]
            frame = _either(image, "frame_id", "frame_index") - first_frame
            if frame % timing.step:
                continue
            x, y, w, h = annotation["bbox"]
            box = _scaled((x, y, x + w, y + h), image["width"], image["height"])
            person = annotation.get("track_id", annotation.get("instance_id", -1))
            name = Path(_either(video, "file_name", "name")).with_suffix("").as_posix()
            action = annotation["category_id"] + shift
            yield Label(name, frame / float(video.get("fps") or timing.fps), int(person), action, box)


def coco_names(content: Mapping[str, Any]) -> dict[int, str]:
    """Return the label map of COCO-style json; ids that start at 0 are moved to 1."""
    with _naming("categories"):
        names = {int(category["id"]): str(category["name"]) for category in content["categories"]}
    shift = 1 - min([1, *names])
    return {i + shift: name for i, name in names.items()}


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
        if isinstance(error, (KeyError, TypeError, ValueError, AttributeError, IndexError, ArithmeticError)):
            reason = " ".join(f"{type(error).__name__} {error}".split())
            raise UserError(f"{self.entry}: not of the expected layout ({reason}); see --help") from error


def _either(entry: Mapping[str, Any], *keys: str) -> Any:
    return entry[next((key for key in keys if key in entry), keys[0])]


def _scaled(box: Iterable[float], width: float, height: float) -> tuple[float, float, float, float]:
    x1, y1, x2, y2 = box
    scaled = (x1 / width, y1 / height, x2 / width, y2 / height)
    if not all(map(math.isfinite, scaled)):
        raise ValueError(f"box {scaled}")
    return scaled
