"""Write a video's detections as annotated mp4, AVA csv, JSON and a strip of pictures."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

from mestad_d2.formats.csv_cells import text_cell
from mestad_d2.formats.files import atomic_open, atomic_path, write_text
from mestad_d2.inference.action_names import ActionNames
from mestad_d2.inference.clip_stream import in_background
from mestad_d2.inference.output_files import said_if_unwritable
from mestad_d2.inference.results.drawing import Annotator, NamedPerson, fit, font, output_size
from mestad_d2.people import People
from mestad_d2.video.clips import later_is_nearer
from mestad_d2.video.output.writer import VideoWriter
from mestad_d2.video.source import VideoSource, open_source
from mestad_d2.video.stream import StreamFrame, iterate_frames

STRIP_PICTURES = 6


def with_names(found: People, names: ActionNames, threshold: float) -> list[NamedPerson]:
    """Return the people of a key frame with their actions of at least ``threshold``, best first."""
    people = []
    track_ids = np.full(len(found), -1) if found.track_ids is None else found.track_ids
    for box, score, actions, track in zip(found.boxes, found.scores, found.actions, track_ids, strict=True):
        order = [int(c) for c in np.argsort(-actions) if actions[c] >= threshold and names.shown(int(c) + 1)]
        shown = [(names[c + 1], float(actions[c])) for c in order]
        people.append(NamedPerson(box, float(score), int(track), shown))
    return people


def filter_by_score(found: People, threshold: float) -> People:
    """Return the people of a key frame whose person score is at least ``threshold``."""
    return found.select(found.scores >= threshold)


def between(before: People, after: People | None, time: float) -> np.ndarray:
    """Interpolate the boxes (N, 4) of ``before``'s people at ``time`` towards their places in ``after``."""
    boxes = before.boxes.astype(np.float64).copy()
    if after is None or after.timestamp <= before.timestamp or before.track_ids is None:
        return boxes
    weight = float(np.clip((time - before.timestamp) / (after.timestamp - before.timestamp), 0, 1))
    later = {int(track): box for track, box in zip(after.track_ids, after.boxes, strict=True)}
    for row, track in enumerate(before.track_ids):
        if int(track) in later:
            boxes[row] = (1 - weight) * boxes[row] + weight * later[int(track)]
    return boxes


def write_csv(path: Path, video_id: str, detections: Iterable[People], threshold: float) -> None:
    """Write AVA rows video,timestamp,x1,y1,x2,y2,action_id,score; boxes in [0, 1], times to the ms."""
    with atomic_open(path, newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        for found in detections:
            for box, actions in zip(found.fractions(), found.actions, strict=True):
                corners = [f"{v:.4f}" for v in box]
                for column in np.flatnonzero(actions >= threshold):
                    score = f"{actions[column]:.4f}"
                    writer.writerow(
                        [text_cell(video_id), f"{found.timestamp:.3f}", *corners, column + 1, score]
                    )


def as_json(found: People, names: ActionNames, threshold: float) -> dict:
    """Convert a key frame to plain values; boxes in pixels of the frame as shown."""
    people = [
        {
            "track_id": person.track_id,
            "box": [round(float(v), 1) for v in person.box],
            "score": round(person.score, 4),
            "actions": [{"name": name, "score": round(score, 4)} for name, score in person.actions],
        }
        for person in with_names(found, names, threshold)
    ]
    return {"timestamp": round(found.timestamp, 3), "people": people}


def json_line(video_id: str, found: People, names: ActionNames, threshold: float) -> str:
    """Format a key frame as a self-contained line of JSON: video, size, time and people."""
    line = {
        "video": video_id,
        "height": found.height,
        "width": found.width,
        **as_json(found, names, threshold),
    }
    return json.dumps(line) + "\n"


def write_json(
    path: Path, video_id: str, detections: Sequence[People], names: ActionNames, threshold: float
) -> None:
    """Write all key frames of a video to one JSON file."""
    size = {"height": detections[0].height, "width": detections[0].width} if detections else {}
    frames = [as_json(found, names, threshold) for found in detections]
    write_text(path, json.dumps({"video": video_id, **size, "key_frames": frames}, indent=1) + "\n")


class Overlay:
    """Draw detections on the frames of their video: labels stay until the next key frame, boxes are interpolated."""

    def __init__(
        self,
        detections: Sequence[People],
        names: ActionNames,
        threshold: float,
        max_labels: int | None = None,
    ) -> None:
        self._detections, self._names, self._threshold = detections, names, threshold
        self._annotator, self._index = Annotator(max_labels=max_labels), 0
        times = [found.timestamp for found in detections]
        # Across a pause of the recording the people are unknown.
        self._longest = 1.5 * float(np.median(np.diff(times))) if len(times) > 1 else float("inf")

    def draw(self, frame: StreamFrame) -> np.ndarray:
        """Draw an annotated copy of a frame, enlarged where it is small; frames come in order of time."""
        detections = self._detections
        while (
            self._index + 1 < len(detections) and detections[self._index + 1].timestamp <= frame.time + 1e-6
        ):
            self._index += 1
        size = output_size(*frame.image.shape[:2])
        image = fit(frame.image, *size)
        if not detections:
            return image
        found = detections[self._index]
        after = detections[self._index + 1] if self._index + 1 < len(detections) else None
        if after is not None and after.timestamp - found.timestamp > self._longest:
            if frame.time - found.timestamp > self._longest:
                near = after.timestamp - frame.time <= self._longest
                found = after if near else found.select(slice(0))
            after = None
        scale = np.array([size[1] / found.width, size[0] / found.height] * 2)
        boxes = between(found, after, frame.time) * scale
        people = with_names(found, self._names, self._threshold)
        return self._annotator.draw(image, [replace(p, box=b) for p, b in zip(people, boxes, strict=True)])


def write_video(
    path: Path,
    video: VideoSource | str,
    detections: Sequence[People],
    names: ActionNames,
    threshold: float,
    *,
    folder_fps: float = 30.0,
    max_labels: int | None = None,
    progress: Callable[[float], None] = lambda time: None,
) -> None:
    """Write an annotated mp4 with the source's frame times and, if any, its sound; of a window it begins with that.

    ``max_labels``: people with a label on a frame, at most. ``progress`` is called with the time of every frame, in s.
    It is written aside: what fails leaves no file, and an old one as it is.

    Raises:
        UserError: ``path`` can't be written.
    """
    source = open_source(video, folder_fps=folder_fps)
    overlay = Overlay(detections, names, threshold, max_labels)
    with (
        said_if_unwritable(path),
        atomic_path(path, keep_suffix=True, fix="give another --output") as aside,
        VideoWriter(aside, source.fps, source) as writer,
    ):
        frames = iterate_frames(source)
        drawn = ((frame.time, overlay.draw(frame)) for frame in frames)
        # Drawn while the frame before is encoded, which takes longer.
        for time, image in in_background(drawn, ahead=4):
            writer.write(time - source.window[0], image)
            progress(time)


def write_strip(
    path: Path,
    video: VideoSource | str,
    detections: Sequence[People],
    names: ActionNames,
    threshold: float,
    *,
    folder_fps: float = 30.0,
    max_labels: int | None = None,
) -> None:
    """Write one picture of up to ``STRIP_PICTURES`` annotated key frames, evenly spread over the video."""
    if not detections:
        return
    chosen = np.unique(np.linspace(0, len(detections) - 1, STRIP_PICTURES + 2).round().astype(int)[1:-1])
    wanted = [detections[i].timestamp for i in chosen]
    pictures: list[np.ndarray] = []
    times: list[float] = []
    overlay = Overlay(detections, names, threshold, max_labels)

    def take(frame: StreamFrame) -> None:
        picture = overlay.draw(StreamFrame(wanted[len(pictures)], frame.image))
        pictures.append(fit(picture, *(pictures or [picture])[0].shape[:2]))
        times.append(frame.time)

    before = None
    for frame in iterate_frames(video, folder_fps=folder_fps):
        while len(pictures) < len(wanted) and frame.time >= wanted[len(pictures)]:
            later = before is None or later_is_nearer(before.time, frame.time, wanted[len(pictures)])
            take(frame if later else before)
        if len(pictures) == len(wanted):
            break
        before = frame
    if before is not None and len(pictures) < len(wanted):
        take(before)
    with atomic_path(path, keep_suffix=True) as aside:
        film_strip(pictures, times).save(aside)


def film_strip(pictures: Sequence[np.ndarray], times: Sequence[float]) -> Image.Image:
    """Arrange pictures (H, W, 3) uint8 of one size in rows of three, with their times (s) below them."""
    height, width = pictures[0].shape[:2]
    gap, caption = max(4, width // 80), max(20, height // 14)
    columns = min(3, len(pictures))
    rows = -(-len(pictures) // columns)
    size = (columns * (width + gap) + gap, rows * (height + caption) + gap)
    strip = Image.new("RGB", size, (24, 24, 28))
    pen = ImageDraw.Draw(strip)
    for index, (picture, time) in enumerate(zip(pictures, times, strict=True)):
        x = gap + index % columns * (width + gap)
        y = gap + index // columns * (height + caption)
        strip.paste(Image.fromarray(picture), (x, y))
        middle = (x + width / 2, y + height + (caption - gap) / 2)
        pen.text(middle, f"{time:.1f} s", font=font(round(0.6 * caption)), fill=(225, 225, 230), anchor="mm")
    return strip
