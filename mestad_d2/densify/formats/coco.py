"""COCO-style json of videos: one annotation a row, its category an action, its ``track_id`` a person."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from mestad_d2.data.importers.reading import naming, read_json
from mestad_d2.densify.formats.csv_files import check_row
from mestad_d2.formats.ava_csv import AnnotationRow
from mestad_d2.formats.files import write_json
from mestad_d2.video.clips import nearest_indices

# Decimals of a normalised coordinate that survive the conversion to pixels.
PLACES = 6


@dataclass(frozen=True)
class VideoFacts:
    """Video data for formats with frame numbers: ``times`` (F,) in s since the first frame, ``start``
    timestamp of that one in s, size in pixels as shown."""

    video_id: str
    file_name: str
    height: int
    width: int
    start: float
    times: np.ndarray

    @property
    def fps(self) -> float:
        """Frames per second on average."""
        return (len(self.times) - 1) / float(self.times[-1]) if len(self.times) > 1 else 1.0

    def frame(self, timestamp: str) -> int:
        """Return the number of the frame nearest to a timestamp, from 0."""
        return int(nearest_indices(self.times, [float(timestamp) - self.start])[0])


def write_coco(
    path: Path, videos: Sequence[VideoFacts], rows: Iterable[AnnotationRow], names: dict[int, str]
) -> None:
    """Write ``rows`` of the csv, the annotators' and the new ones; pycocotools reads it.

    ``frame_id`` counts a video's frames from 0; ``timestamp`` is the csv's text; ``confidence`` is null where
    an annotator wrote the row. Boxes are x, y, width, height in pixels.
    """
    numbers = {video.video_id: number for number, video in enumerate(videos, 1)}
    images: dict[tuple[int, str], dict] = {}
    annotations, used = [], set(names)
    for row in rows:
        number = numbers[row.video_id]
        video = videos[number - 1]
        key, frame = (number, row.timestamp), video.frame(row.timestamp)
        image = images.setdefault(key, {
            "id": len(images) + 1, "video_id": number, "frame_id": frame, "timestamp": row.timestamp,
            "file_name": f"{video.video_id}/{frame:06d}", "width": video.width, "height": video.height,
        })  # fmt: skip
        x1, y1, x2, y2 = (v * size for v, size in zip(row.box, (video.width, video.height) * 2, strict=True))
        used.add(row.action_id)
        annotations.append({
            "id": len(annotations) + 1, "image_id": image["id"], "video_id": number,
            "category_id": row.action_id, "bbox": [round(v, 6) for v in (x1, y1, x2 - x1, y2 - y1)],
            "area": round((x2 - x1) * (y2 - y1), 4), "iscrowd": 0, "track_id": row.person_id,
            "confidence": row.confidence,
        })  # fmt: skip
    content = {
        "info": {"description": "AVA-style labels", "version": "1.0"},
        "licenses": [],
        "videos": [
            {"id": numbers[v.video_id], "name": v.video_id, "file_name": v.file_name, "width": v.width,
             "height": v.height, "length": len(v.times), "fps": v.fps, "start": v.start} for v in videos
        ],
        "images": list(images.values()),
        "annotations": annotations,
        "categories": [
            {"id": i, "name": names.get(i, f"action {i}"), "supercategory": "action"} for i in sorted(used)
        ],
    }  # fmt: skip
    write_json(path, content, indent=None)


def read_coco(path: Path) -> tuple[list[AnnotationRow], set[str]]:
    """Read a file that ``write_coco`` wrote and people corrected.

    Returns:
        rows, and the names of all videos.

    Raises:
        UserError: no json of this layout, or a value that no csv may hold; names the annotation.
    """
    with naming(path, "it", "give COCO-style json with videos and images"):
        content = read_json(path)
        videos = {video["id"]: video for video in content["videos"]}
        images = {image["id"]: image for image in content["images"]}
        names = {str(video.get("name")) for video in videos.values()}
        annotations = list(content["annotations"])
    rows = []
    for number, annotation in enumerate(annotations):
        known = isinstance(annotation, dict) and annotation.get("id")
        entry = f"annotation {known!r:.40}" if known else f"entry {number} of the annotations"
        with naming(path, entry, "write it as it was"):
            image = images[annotation["image_id"]]
            video = videos[image["video_id"]]
            x, y, w, h = annotation["bbox"]
            size = (image["width"], image["height"]) * 2
            box = tuple(round(v / s, PLACES) for v, s in zip((x, y, x + w, y + h), size, strict=True))
            time = image.get("timestamp") or _time(image["frame_id"], video)
            action, person = _whole(annotation["category_id"]), _whole(annotation.get("track_id", -1))
            row = AnnotationRow(
                str(video["name"]), str(time), box, action, person, annotation.get("confidence")
            )
            rows.append(check_row(row, f"{path}: {entry}"))
    return rows, names


def _time(frame: float, video: dict) -> str:
    if not 0 < video["fps"] < math.inf:
        raise ValueError(f"{video['fps']!r:.40} frames a second")
    return f"{video.get('start', 0) + frame / video['fps']:.6f}"


def _whole(value: float | str) -> int:
    if int(value) != float(value):
        raise ValueError(f"{value!r:.40} is no whole number")
    return int(value)
