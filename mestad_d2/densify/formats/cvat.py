"""CVAT for video 1.1: a track a person, a tick box an action. One file per video, as CVAT requires.

Written after the format's description (docs.cvat.ai, "CVAT for videos"). Boxes on labelled frames are key frames
of their track; where a person is not labelled, the track is outside, so that CVAT does not interpolate there.
"""

from __future__ import annotations

import re
import xml.etree.ElementTree as ET
from collections import defaultdict
from collections.abc import Iterable, Iterator
from pathlib import Path

from mestad_d2.data.importers.reading import naming, read_xml
from mestad_d2.densify.formats.coco import PLACES, VideoFacts
from mestad_d2.densify.formats.csv_files import check_row
from mestad_d2.formats.ava_csv import AnnotationRow
from mestad_d2.formats.files import atomic_open

LABEL = "person"
NOBODY = ""
_ACTION = re.compile(r"(\d+): .*", re.S)
# Characters that XML 1.0 forbids.
_FORBIDDEN = re.compile("[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
Boxes = dict[int, tuple[tuple[float, float, float, float], dict[int, float | None]]]


def attribute_name(action: int, name: str) -> str:
    """Return the CVAT attribute name of an action; it starts with the id, since names need not be unique."""
    return f"{action}: {_FORBIDDEN.sub('?', name)}"


def label_spec(names: dict[int, str]) -> list[dict]:
    """Return the label with its attributes for CVAT's raw label editor."""
    ticks = [
        {"name": attribute_name(i, name), "mutable": True, "input_type": "checkbox", "default_value": "false",
         "values": ["false"]} for i, name in sorted(names.items())
    ]  # fmt: skip
    texts = [
        {"name": name, "mutable": True, "input_type": "text", "default_value": "", "values": [""]}
        for name in ("person_id", "confidence")
    ]
    return [{"name": LABEL, "attributes": texts + ticks}]


def write_cvat(path: Path, video: VideoFacts, rows: Iterable[AnnotationRow], names: dict[int, str]) -> None:
    """Write the rows of one video; ids without a name are called ``action 7``."""
    rows = list(rows)
    names = {**{row.action_id: f"action {row.action_id}" for row in rows}, **names}
    root = ET.Element("annotations")
    _text(root, "version", "1.1")
    _meta(ET.SubElement(root, "meta"), video, names)
    labelled = sorted({video.frame(row.timestamp) for row in rows})
    for number, ((person, _), boxes) in enumerate(sorted(_tracks(video, rows).items())):
        track = ET.SubElement(root, "track", id=str(number), label=LABEL, source="manual")
        shown = sorted({action for _, actions in boxes.values() for action in actions})
        for frame, outside in _keyframes(sorted(boxes), labelled, len(video.times)):
            box, actions = boxes[outside if outside is not None else frame]
            _box(track, frame, outside is not None, box, video, person, actions, {a: names[a] for a in shown})
    ET.indent(root)
    with atomic_open(path, "wb") as file:
        ET.ElementTree(root).write(file, encoding="utf-8", xml_declaration=True)


def _tracks(video: VideoFacts, rows: Iterable[AnnotationRow]) -> dict[tuple[int, int], Boxes]:
    """(person, which of several boxes of the person on a frame) -> frame -> box and actions with confidence."""
    frames: dict[tuple[int, int], dict[tuple, dict[int, float | None]]] = defaultdict(dict)
    for row in rows:
        boxes = frames[(row.person_id, video.frame(row.timestamp))]
        boxes.setdefault(row.box, {})[row.action_id] = row.confidence
    tracks: dict[tuple[int, int], Boxes] = defaultdict(dict)
    for (person, frame), boxes in sorted(frames.items()):
        for place, (box, actions) in enumerate(boxes.items()):
            tracks[(person, place)][frame] = (box, actions)
    return tracks


def _keyframes(frames: list[int], labelled: list[int], count: int) -> Iterator[tuple[int, int | None]]:
    """(frame, None), and (frame, the last one in view) where the track goes outside."""
    place = {frame: index for index, frame in enumerate(labelled)}
    steps = sorted(b - a for a, b in zip(labelled, labelled[1:], strict=False))
    usual = steps[len(steps) // 2] if steps else 1
    for frame, following in zip(frames, [*frames[1:], None], strict=True):
        yield frame, None
        after = labelled[place[frame] + 1] if place[frame] + 1 < len(labelled) else frame + usual
        # In a gap of the labels nothing is known, so the track goes outside at once.
        after = frame + 1 if after - frame > 2 * usual else after
        if after != following and after < count:
            yield after, frame


def _box(
    track: ET.Element, frame: int, outside: bool, box: tuple, video: VideoFacts, person: int,
    actions: dict[int, float | None], names: dict[int, str],
) -> None:  # fmt: skip
    sides = zip(("xtl", "ytl", "xbr", "ybr"), box, (video.width, video.height) * 2, strict=True)
    corners = {name: f"{value * size:.6f}" for name, value, size in sides}
    flags = {
        "frame": str(frame),
        "keyframe": "1",
        "outside": str(int(outside)),
        "occluded": "0",
        "z_order": "0",
    }
    element = ET.SubElement(track, "box", **flags, **corners)
    _text(element, "attribute", str(person) if person >= 0 else NOBODY, name="person_id")
    sure = " ".join(f"{action}:{value:.4f}" for action, value in actions.items() if value is not None)
    _text(element, "attribute", sure, name="confidence")
    for action, name in names.items():
        ticked = "true" if action in actions else "false"
        _text(element, "attribute", ticked, name=attribute_name(action, name))


def _meta(meta: ET.Element, video: VideoFacts, names: dict[int, str]) -> None:
    task = ET.SubElement(meta, "task")
    count = len(video.times)
    facts = {"id": "0", "name": _FORBIDDEN.sub("?", video.video_id), "size": str(count), "mode": "interpolation",
             "overlap": "0", "bugtracker": "", "flipped": "False"}  # fmt: skip
    for name, value in facts.items():
        _text(task, name, value)
    labels = ET.SubElement(task, "labels")
    for spec in label_spec(names):
        label = ET.SubElement(labels, "label")
        _text(label, "name", spec["name"])
        attributes = ET.SubElement(label, "attributes")
        for attribute in spec["attributes"]:
            element = ET.SubElement(attributes, "attribute")
            _text(element, "name", attribute["name"])
            _text(element, "mutable", "True")
            _text(element, "input_type", attribute["input_type"])
            _text(element, "default_value", attribute["default_value"])
            _text(element, "values", attribute["default_value"])
    for name, value in (("start_frame", "0"), ("stop_frame", str(count - 1)), ("frame_filter", "")):
        _text(task, name, value)
    size = ET.SubElement(task, "original_size")
    _text(size, "width", str(video.width))
    _text(size, "height", str(video.height))
    _text(meta, "dumped", "")
    _text(meta, "source", _FORBIDDEN.sub("?", Path(video.file_name).name))


def _text(parent: ET.Element, tag: str, text: str, **attributes: str) -> None:
    ET.SubElement(parent, tag, **attributes).text = text


def read_cvat(path: Path, video: VideoFacts, timestamps: dict[int, str]) -> list[AnnotationRow]:
    """Read the rows of a file that ``write_cvat`` wrote, or that CVAT exported after correction.

    Args:
        timestamps: text by frame of those frames that had labels; other frames are named by their time.
            Interpolated boxes (``keyframe="0"``) count on those frames only.

    Raises:
        UserError: no such xml, or a value that no csv may hold; names track and frame.
    """
    rows = []
    for track in read_xml(path).iter("track"):
        for box in track.iter("box"):
            entry = f"track {track.get('id', ''):.40}, frame {box.get('frame', ''):.40}"
            with naming(path, entry, "export CVAT for video 1.1"):
                frame = int(box.attrib["frame"])
                if box.get("outside") == "1" or (box.get("keyframe") == "0" and frame not in timestamps):
                    continue
                if not 0 <= frame < len(video.times):
                    raise ValueError(f"{video.file_name} has frames 0 to {len(video.times) - 1}")
                time = timestamps.get(frame) or f"{video.times[frame] + video.start:.6f}"
                rows += (check_row(row, f"{path}: {entry}") for row in _rows(box, video, time))
    return rows


def _rows(box: ET.Element, video: VideoFacts, timestamp: str) -> list[AnnotationRow]:
    sides = zip(("xtl", "ytl", "xbr", "ybr"), (video.width, video.height) * 2, strict=True)
    place = tuple(round(float(box.attrib[name]) / size, PLACES) for name, size in sides)
    values = {a.attrib["name"]: (a.text or "").strip() for a in box.iter("attribute")}
    sure = dict(pair.split(":") for pair in values.get("confidence", "").split())
    person = int(values.get("person_id") or -1)
    rows = []
    for name, value in values.items():
        action = _ACTION.fullmatch(name)
        if action and value.lower() == "true":
            number = action.group(1)
            trust = float(sure[number]) if number in sure else None
            rows.append(AnnotationRow(video.video_id, timestamp, place, int(number), person, trust))
    return rows
