"""COCO-style json of videos: images with annotations (mmtracking, this project's own), of CVAT's "COCO 1.0" without a
list of videos, and YouTube-VIS, whose annotations hold a box for every frame."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mestad_d2.data.importers.cvat import tracks_of_boxes
from mestad_d2.data.importers.reading import name_of_head, naming, picture_number, scaled, without_suffix
from mestad_d2.data.importers.tracks import LabelledVideo, Labels, Mark, Tags, Track
from mestad_d2.errors import UserError

LAYOUT = (
    "either videos (id, file_name or name, optional fps), images (id, video_id, frame_id or frame_index, width, height), "
    "annotations (image_id, category_id, bbox x, y, width, height, optional track_id) and categories (id, name); or the "
    "same without videos, where file_name of an image ends in the frame's number; or YouTube-VIS: videos (id, width, "
    "height, file_names), annotations (video_id, category_id, bboxes) and categories"
)
# Marker of this project's own export.
OURS = "AVA-style labels"


def read_coco(content: Any, path: Path, first_frame: int | None = None) -> Labels:
    """Read the content of a file of any of the layouts.

    Args:
        content: the json.
        path: its file, for messages and for the name of a video that the file does not name.
        first_frame: number of a video's first frame; default: 0 for ``frame_id``, the least number for names of pictures.

    Raises:
        UserError: something is missing or malformed; names it.
    """
    needed = {"annotations", "categories"}
    if not isinstance(content, dict) or needed - content.keys() or not content.keys() & {"images", "videos"}:
        missing = " and ".join(
            sorted(needed - set(content if isinstance(content, dict) else ())) or ["images"]
        )
        raise UserError(f"{path}: no {missing} in it; write {LAYOUT}")
    with naming(path, "categories"):
        labels = Labels([], ids=_ids(content["categories"]))
        names = _unique_names(content["categories"])
    labels.options = list(labels.ids)
    annotations = content["annotations"]
    if "images" not in content or (annotations and "bboxes" in annotations[0]):
        labels.videos = _youtube_vis(content, path, names)
    else:
        labels.videos = _images(content, path, names, first_frame)
    return labels


def _unique_names(categories: list[Mapping]) -> dict[int, str]:
    """Name by category id; names that occur twice get their id, or one would hide the other."""
    names = [str(category["name"]) for category in categories]
    numbers = [int(category["id"]) for category in categories]
    pairs = zip(numbers, names, strict=True)
    return {number: name if names.count(name) == 1 else f"{name} ({number})" for number, name in pairs}


def _ids(categories: list[Mapping]) -> dict[str, int]:
    """Ids by name; where they begin at 0 all are moved by 1, since label maps begin at 1."""
    names = _unique_names(categories)
    if len(names) != len(categories):
        raise ValueError("an id stands there twice")
    shift = 1 - min([1, *names])
    return {name: number + shift for number, name in names.items()}


def _youtube_vis(content: Mapping, path: Path, names: dict[int, str]) -> list[LabelledVideo]:
    with naming(path, "videos"):
        videos = {video["id"]: video for video in content["videos"]}
        frames = {number: _numbers(video["file_names"]) for number, video in videos.items()}
    tracks: dict[Any, list[Track]] = {number: [] for number in videos}
    for place, annotation in enumerate(content["annotations"]):
        with naming(path, f"annotation {annotation.get('id', place)}", "export it anew"):
            video = videos[annotation["video_id"]]
            tags = Tags((_category(annotation, names),))
            size = float(video["width"]), float(video["height"])
            boxes = annotation["bboxes"]
            if len(boxes) != len(frames[video["id"]]):
                raise ValueError(f"{len(boxes)} bboxes for {len(frames[video['id']])} frames")
            marks = [
                Mark(frame, scaled((b[0], b[1], b[0] + b[2], b[1] + b[3]), *size), tags)
                for frame, b in zip(frames[video["id"]], boxes, strict=True) if b
            ]  # fmt: skip
            tracks[video["id"]].append(Track(int(annotation.get("id", place)), marks))
    found = []
    for number, video in videos.items():
        folder = (
            str(video["file_names"][0]).replace("\\", "/").rpartition("/")[0] if video["file_names"] else ""
        )
        name = folder or str(video.get("name") or number)
        fps = float(video["fps"]) if video.get("fps") else None
        found.append(LabelledVideo(name, name, frames[number], tracks[number], fps=fps))
    return found


def _numbers(file_names: list[str]) -> list[int]:
    """Numbers of the frames, from 0: those in the names of the pictures, which may leave frames out."""
    numbers = [picture_number(str(name)) for name in file_names]
    counts = [number[2] for number in numbers if number]
    if len(counts) != len(file_names) or any(a >= b for a, b in zip(counts, counts[1:], strict=False)):
        return list(range(len(file_names)))
    return [count - counts[0] for count in counts]


def _images(
    content: Mapping, path: Path, names: dict[int, str], first_frame: int | None
) -> list[LabelledVideo]:
    videos: dict[Any, dict] = {}
    with naming(path, "videos"):
        videos = {video["id"]: video for video in content.get("videos", [])}
    frames: dict[Any, dict[float, dict]] = defaultdict(dict)
    of_image: dict[Any, tuple[Any, float]] = {}
    named_frames, heads = True, _heads(content["images"])
    for place, image in enumerate(content["images"]):
        with naming(path, f"image {image.get('id', place)}", f"write {LAYOUT}"):
            video, frame, counted = _place(image, videos, heads)
            named_frames &= counted
            if image["id"] in of_image:
                raise ValueError("the id stands there twice")
            if frame in frames[video]:
                raise ValueError(f"frame {frame:g} of video {video!r} stands there twice")
            of_image[image["id"]] = video, frame
            frames[video][frame] = {**image, "boxes": {}}
    for place, annotation in enumerate(content["annotations"]):
        with naming(path, f"annotation {annotation.get('id', place)}"):
            if annotation["image_id"] not in of_image:
                raise ValueError(f"no image {annotation['image_id']!r}")
            video, frame = of_image[annotation["image_id"]]
            _add(frames[video][frame], annotation, names, content)
    found = []
    for video in {**videos, **frames}:
        shown = frames.get(video, {})
        if not shown:
            continue
        facts = videos.get(video, {})
        timed = all("timestamp" in image for image in shown.values())
        first = first_frame if first_frame is not None else 0 if named_frames else _first(shown)
        boxes = {
            float(image["timestamp"]) if timed else frame - first: [
                (person, box, Tags(tuple(labels), tuple(said)))
                for (person, box), (labels, said) in image["boxes"].items()
            ]
            for frame, image in shown.items()
        }
        if min(boxes) < 0 and not timed:
            raise UserError(f"{path}: a frame below the first one, {first}; give another --first-frame")
        source = str(facts.get("file_name") or facts.get("name") or video or path.stem)
        name = without_suffix(str(facts.get("name") if _is_ours(content) else source)).replace("\\", "/")
        fps = 1.0 if timed else float(facts["fps"]) if facts.get("fps") else None
        length = int(facts["length"]) if facts.get("length") and not timed else None
        found.append(
            LabelledVideo(name, source, sorted(boxes), tracks_of_boxes(boxes), fps=fps, length=length)
        )
    return found


def _is_ours(content: Mapping) -> bool:
    return isinstance(content.get("info"), dict) and content["info"].get("description") == OURS


def _heads(images: list[Mapping]) -> dict[str, set[str]]:
    """What stands before the numbers of the pictures of each folder; several are pictures of several videos."""
    heads: dict[str, set[str]] = defaultdict(set)
    for image in images:
        numbered = picture_number(str(image.get("file_name", ""))) if isinstance(image, dict) else None
        if numbered:
            heads[numbered[0]].add(numbered[1])
    return heads


def _place(image: Mapping, videos: Mapping, heads: Mapping[str, set[str]]) -> tuple[Any, float, bool]:
    """(video, frame, whether the frame is a field of its own) of an image."""
    numbered = picture_number(str(image.get("file_name", "")))
    # Where only some frames are labelled, as in TAO, frame_id may count those and frame_index the video's.
    key = next((key for key in ("frame_index", "frame_id") if key in image), None)
    if "video_id" in image:
        video = image["video_id"]
        if videos and video not in videos:
            raise ValueError(f"no video {video!r}")
    else:
        folder, head = numbered[:2] if numbered else ("", "")
        video = folder if len(heads[folder]) < 2 else "/".join(filter(None, (folder, name_of_head(head))))
    if key is None and numbered is None:
        raise KeyError("frame_id")
    return video, image[key] if key else numbered[2], key is not None


def _first(frames: Mapping[float, Mapping]) -> float:
    """0 for CVAT's names, frame_000000 on; else the least number, which a folder's first picture has."""
    some = next(iter(frames.values()))
    return (
        0
        if re.search(r"(\A|/)frame_\d{6}(\.\w+)?\Z", str(some.get("file_name", "")), flags=re.I)
        else min(frames)
    )


def _add(image: dict, annotation: Mapping, names: dict[int, str], content: Mapping) -> None:
    x, y, width, height = map(float, annotation["bbox"])
    box = scaled((x, y, x + width, y + height), float(image["width"]), float(image["height"]))
    said = annotation.get("attributes") or {}
    person = annotation.get("track_id", annotation.get("instance_id", said.get("track_id", -1)))
    labels, attributes = image["boxes"].setdefault((int(person), box), ([], []))
    name = _category(annotation, names)
    labels.append(name)
    if _is_ours(content) and annotation.get("confidence") is not None:
        attributes.append((f"confidence of {name}", repr(float(annotation["confidence"]))))
    attributes += [(str(key), _text(value)) for key, value in said.items()]


def _category(annotation: Mapping, names: Mapping[int, str]) -> str:
    number = int(annotation["category_id"])
    if number not in names:
        raise ValueError(f"category {number} is not among the categories")
    return names[number]


def _text(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)
