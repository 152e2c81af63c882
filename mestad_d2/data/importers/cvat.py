"""CVAT's own xml, version 1.1: "CVAT for video" (tracks) and "CVAT for images" (boxes a picture).

Written after the format's description (docs.cvat.ai, "XML annotation format"). A track's box holds until its next one and
moves there on a line, also towards one that is outside. CVAT writes a box for every frame; where a file lists key frames
alone, a person stays behind the last one to the end of the task, and where it lists all frames, the last one ends it.
"""

from __future__ import annotations

import re
import xml.etree.ElementTree as ET
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from mestad_d2.data.importers.reading import (
    KnownSizes,
    name_of_head,
    naming,
    picture_number,
    read_xml,
    scaled,
    turned,
    without_suffix,
)
from mestad_d2.data.importers.tracks import Box, LabelledVideo, Labels, Mark, Tags, Track
from mestad_d2.errors import UserError

# Attributes that name the person instead of an action.
PERSON_ATTRIBUTES = ("person_id", "track_id", "id", "identity")
# The older form of a declaration: ~select=action:standing,walking
_OLD_ATTRIBUTE = re.compile(r"[@~](\w+)=([^:]*):(.*)", re.S)
# How CVAT calls the frames of a video, counted from 0.
_OF_VIDEO = re.compile(r"frame_\d{6}(\.\w+)?", re.I)
_STEP = re.compile(r"step\s*=\s*(\d+)")


@dataclass(frozen=True)
class _Task:
    """The metadata of one video in a file."""

    source: str
    size: tuple[float, float] | None
    start: int
    stop: int | None
    step: int
    is_video: bool

    def frames(self, last: float) -> range:
        stop = self.stop if self.stop is not None else int(last)
        return range(self.start, max(stop, int(last)) + 1, self.step)


def read_cvat(path: Path, sizes: KnownSizes | None = None) -> Labels:
    """Read an xml of either kind; of a project, several videos.

    Args:
        path: the xml.
        sizes: of the frames, where the file does not say it.

    Raises:
        UserError: no such xml, or one without a track and an image; names track and frame.
    """
    root = read_xml(path)
    if root.tag != "annotations" or (root.find("track") is None and root.find("image") is None):
        raise UserError(f"{path}: no track and no image in it; export CVAT for video 1.1")
    labels = Labels([])
    for label in root.iterfind("meta//label"):
        labels.options.append((label.findtext("name") or "").strip())
        _declare(label, labels)
    tasks = dict(_tasks(root, path))
    left_out: Counter[str] = Counter()
    if root.find("track") is not None:
        labels.videos += _videos_of_tracks(root, tasks, path, sizes, left_out)
    if root.find("image") is not None:
        labels.videos += _videos_of_images(root, tasks, path, left_out)
    labels.left_out = dict(left_out)
    return labels


def _declare(label: ET.Element, labels: Labels) -> None:
    for attribute in label.iterfind("attributes/attribute"):
        name, kind = attribute.findtext("name"), attribute.findtext("input_type")
        values = (attribute.findtext("values") or "").split("\n")
        old = _OLD_ATTRIBUTE.fullmatch((attribute.text or "").strip())
        if name is None and old:
            kind, name, listed = old.groups()
            values = listed.split(",")
        if name is not None and kind is not None:
            labels.kinds[name.strip()] = kind.strip()
            if kind.strip() in ("select", "radio"):
                labels.options += [value.strip() for value in values if value.strip()]
            elif kind.strip() == "checkbox":
                labels.options.append(name.strip())


def _tasks(root: ET.Element, path: Path) -> Iterator[tuple[str | None, _Task]]:
    """(id of the task in a project, or None where there is one task or job only, what is said of it)."""
    found = [*root.iterfind("meta/task"), *root.iterfind("meta/job")]
    several = root.findall("meta/project/tasks/task")
    for task in several or found:
        with naming(path, f"task {task.findtext('id')}"):
            source = task.findtext("source") or root.findtext("meta/source") or ""
            name = task.findtext("name") or ""
            size = task.find("original_size")
            if size is None:
                size = root.find("meta/original_size")
            width, height = (
                (size.findtext("width"), size.findtext("height")) if size is not None else (None, None)
            )
            stop = task.findtext("stop_frame")
            count = task.findtext("size")
            step = _STEP.search(task.findtext("frame_filter") or "")
            start = int(task.findtext("start_frame") or 0)
            step = int(step.group(1)) if step else 1
            if not stop and count:
                stop = str(start + (int(count) - 1) * step)
            yield (
                task.findtext("id") if several else None,
                _Task(
                    source or name,
                    (float(width), float(height)) if width and height else None,
                    start,
                    int(stop) if stop else None,
                    step,
                    bool(source) and without_suffix(source) != source,
                ),
            )


def _of(tasks: dict[str | None, _Task], element: ET.Element) -> tuple[str | None, _Task]:
    key = element.get("task_id") if element.get("task_id") in tasks else next(iter(tasks), None)
    return key, tasks.get(key) or _Task("", None, 0, None, 1, False)


def _video_id(task: _Task, path: Path) -> str:
    name = task.source.replace("\\", "/").rstrip("/").rpartition("/")[2]
    return without_suffix(name) if name else path.stem


def _videos_of_tracks(
    root: ET.Element, tasks: dict[str | None, _Task], path: Path, sizes: KnownSizes | None, left_out: Counter
) -> Iterator[LabelledVideo]:
    people: dict[str | None, list[Track]] = defaultdict(list)
    for key in tasks:
        people[key] = []
    for number, element in enumerate(root.iterfind("track")):
        key, task = _of(tasks, element)
        pixels = task.size or (sizes.get(_video_id(task, path)) if sizes else None)
        marks: list[Mark] = []
        for shape in element:
            where = f"track {element.get('id', number)}, frame {shape.get('frame')}"
            with naming(path, where, "export CVAT for video 1.1"):
                corners = _corners(shape)
                if corners is None:
                    left_out[shape.tag] += 1
                    continue
                if pixels is None:
                    raise UserError(f"{path}: the size of the frames is not in it; give --videos or --size")
                tags = _tags(shape, element.get("label"))
                outside = shape.get("outside") == "1"
                box = scaled(corners, *pixels)
                drawn = shape.get("keyframe") != "0"
                marks.append(Mark(int(shape.attrib["frame"]), box, tags, not outside, not outside, drawn))
        if marks:
            name = element.get("id")
            default = int(name) if name and name.isdigit() else number
            people[key] += _by_person(_ended(marks, task.step), default)
    for key, tracks in people.items():
        task = tasks.get(key) or _of(tasks, ET.Element("track"))[1]
        last = max((track.frames[-1] for track in tracks), default=0)
        length = task.stop + 1 if task.stop is not None and task.is_video else None
        yield LabelledVideo(
            _video_id(task, path), task.source or str(path), task.frames(last), tracks, length=length
        )


def _ended(marks: list[Mark], step: int) -> list[Mark]:
    """The boxes of a track in order; where they leave out no frame, the last one lasts no longer than its own."""
    marks = sorted(marks, key=lambda mark: mark.frame)
    if len(marks) > 1 and all(b.frame - a.frame <= step for a, b in zip(marks, marks[1:], strict=False)):
        marks[-1] = replace(marks[-1], lasts=False)
    return marks


def _by_person(marks: Sequence[Mark], default: int) -> list[Track]:
    """Make a track of each person that the boxes of a track name, ascending; unnamed boxes are of the one before."""
    found = [_person(mark.tags) for mark in marks]
    person, people = next((p for p in found if p is not None), default), []
    for number in found:
        person = person if number is None else number
        people.append(person)
    tracks = []
    for one in dict.fromkeys(people):
        # The box of the next person is where this one moves to and is gone.
        own = [
            m if p == one else replace(m, visible=False, lasts=False)
            for p, m in zip(people, marks, strict=True)
        ]
        tracks.append(Track(one, own))
    return tracks


def _videos_of_images(
    root: ET.Element, tasks: dict[str | None, _Task], path: Path, left_out: Counter
) -> Iterator[LabelledVideo]:
    """Pictures by the video that they are of: the task's video, or the folder and head in their names."""
    videos: dict[tuple[str | None, str, str, str], dict[int, list[tuple[int, Box, Tags]]]] = defaultdict(dict)
    for image in root.iterfind("image"):
        key, task = _of(tasks, image)
        name = image.get("name") or ""
        with naming(path, f"image {name or image.get('id')}", "export CVAT for images 1.1"):
            numbered = picture_number(name)
            folder, head, frame = numbered if numbered else ("", "", int(image.attrib["id"]))
            if task.is_video or _OF_VIDEO.fullmatch(name):
                folder, head = "", ""
            frames = videos[key, image.get("subset") or "", folder, head]
            if frame in frames:
                raise ValueError(f"frame {frame} stands there twice")
            boxes = frames[frame] = []
            pixels = float(image.attrib["width"]), float(image.attrib["height"])
            for shape in image:
                corners = _corners(shape)
                if corners is None:
                    left_out[shape.tag] += 1
                    continue
                tags = _tags(shape, shape.get("label"))
                person = _person(tags)
                group = shape.get("group_id") or ""
                if person is None:
                    person = int(group) if group.isdigit() and int(group) else -1
                boxes.append((person, scaled(corners, *pixels), tags))
    names = {image.get("name") or "" for image in root.iterfind("image")}
    of_video = all(_OF_VIDEO.fullmatch(name) for name in names)
    for (key, subset, folder, head), frames in videos.items():
        task = tasks.get(key) or _of(tasks, ET.Element("image"))[1]
        # Frames of a video count from 0; pictures of a folder from their first number.
        first = 0 if of_video or task.is_video else min(frames)
        name = folder.rpartition("/")[2] if folder else _video_id(task, path)
        if len({h for k, s, f, h in videos if (k, s, f) == (key, subset, folder)}) > 1:
            name = name_of_head(head) or name
        if len({s for k, s, f, h in videos if (k, f, h) == (key, folder, head)}) > 1:
            name = f"{name}_{subset}"
        source = f"{task.source or path}/{folder}" if folder else task.source or str(path)
        yield LabelledVideo(name, source, sorted(f - first for f in frames), tracks_of_boxes(frames, first))


def tracks_of_boxes(frames: dict[int, list[tuple[int, Box, Tags]]], first: int = 0) -> list[Track]:
    """Make tracks of single-frame boxes: one per person, and one per box without a person id.

    Args:
        frames: frame -> (person id or -1, box, tags).
        first: number of the first frame.
    """
    people: dict[tuple[int, int], Track] = {}
    for frame, boxes in sorted(frames.items()):
        seen: Counter[int] = Counter()
        for person, box, tags in boxes:
            # Several boxes of one person on a frame, and boxes without person id, are separate tracks.
            track = people.setdefault((person, seen[person]), Track(person))
            seen[person] += 1
            track.marks.append(Mark(frame - first, box, tags))
    return list(people.values())


def _corners(shape: ET.Element) -> Box | None:
    """The upright box of a shape in pixels; None for shapes without an area, as points."""
    if shape.tag == "box":
        x1, y1, x2, y2 = (float(shape.attrib[name]) for name in ("xtl", "ytl", "xbr", "ybr"))
        return turned(x1, y1, x2, y2, float(shape.get("rotation") or 0))
    if shape.tag == "ellipse":
        cx, cy, rx, ry = (float(shape.attrib[name]) for name in ("cx", "cy", "rx", "ry"))
        return cx - abs(rx), cy - abs(ry), cx + abs(rx), cy + abs(ry)
    if shape.tag == "polygon":
        points = [tuple(map(float, point.split(","))) for point in shape.attrib["points"].split(";")]
        return _around(points)
    if shape.tag == "mask":
        left, top, width, height = (float(shape.attrib[name]) for name in ("left", "top", "width", "height"))
        return left, top, left + width, top + height
    return None


def _around(points: Iterable[tuple[float, ...]]) -> Box:
    xs, ys = zip(*points, strict=True)
    return min(xs), min(ys), max(xs), max(ys)


def _tags(shape: ET.Element, label: str | None) -> Tags:
    values = [(a.attrib["name"], (a.text or "").strip()) for a in shape.iterfind("attribute")]
    return Tags((label,) if label else (), tuple(values))


def _person(tags: Tags) -> int | None:
    """The person that an attribute names by number; None without one."""
    for name, value in tags.attributes:
        if name.lower() in PERSON_ATTRIBUTES and value.isdigit():
            return int(value)
    return None
