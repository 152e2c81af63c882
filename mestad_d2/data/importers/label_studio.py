"""Label Studio's video json: full exports (a list of tasks), one task, and JSON-MIN.

Frames count from 1 at the rate of the labelling project, which need not be the file's: the tool takes 24 frames a
second unless its configuration says otherwise. The rate is told by ``time``, which is frame / rate. A box moves on a line
to the next one; where ``enabled`` is false the person is there on that frame and not after it; behind the last box of an
enabled region it stays to the end of the video.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from mestad_d2.data.importers.reading import KnownSizes, name_of_address, naming, scaled, turned
from mestad_d2.data.importers.tracks import LabelledVideo, Labels, Mark, Tags, Track
from mestad_d2.errors import UserError

# Where ``time`` is absent from a file.
DEFAULT_FPS = 24.0


def is_label_studio(content: Any) -> bool:
    """Return whether a json looks like Label Studio's."""
    tasks = content if isinstance(content, list) else [content]
    return bool(tasks) and all(
        isinstance(task, dict)
        and ("annotations" in task and "data" in task or _is_prediction(task) or _regions_of_min(task))
        for task in tasks[:3]
    )


def read_label_studio(content: Any, path: Path, sizes: KnownSizes | None = None) -> Labels:
    """Read the content of a file.

    Args:
        content: the json.
        path: its file, for messages.
        sizes: of the frames, which boxes that are turned need: all is in percent of width and height.

    Raises:
        UserError: an entry is malformed, or no task has a box in a video; names task and region.
    """
    labels = Labels([])
    tasks = content if isinstance(content, list) else [content]
    if len(tasks) > 1 and any(map(_is_prediction, tasks)):
        raise UserError(
            f"{path}: {len(tasks)} predictions without the videos that they are of; give one a file, or export tasks"
        )
    for place, task in enumerate(tasks):
        if _is_prediction(task):
            task = {"data": {"video": path.stem}, "annotations": [task]}
        name = f"task {task.get('id', place) if isinstance(task, dict) else place}"
        with naming(path, name):
            regions = list(_regions(task, labels))
            if not regions and not _is_video(task):
                continue
            address = _address(task)
            size = sizes.get(name_of_address(address)) if sizes else None
            labels.videos.append(_video(regions, address, path, name, size))
    if not labels.videos:
        raise UserError(f"{path}: no boxes in a video; export JSON of a project with VideoRectangle")
    return labels


def _is_prediction(task: Any) -> bool:
    """Whether an entry is what a model predicts for a task, without the task."""
    return isinstance(task, dict) and isinstance(task.get("result"), list) and "data" not in task


def _regions(task: dict, labels: Labels) -> Iterator[tuple[dict, Tags]]:
    """(value, tags) of every box; classifications of a region become its attributes."""
    if "annotations" not in task:
        for value in _regions_of_min(task):
            yield value, Tags(tuple(map(str, _labels_of(value))))
        return
    annotations = [a for a in task["annotations"] if not a.get("was_cancelled")]
    if len(annotations) > 1:
        chosen = [a for a in annotations if a.get("ground_truth")] or annotations
        labels.left_out["other annotators' results"] = (
            labels.left_out.get("other annotators' results", 0) + len(annotations) - 1
        )
        # The last one that was saved, as the tool lists them in order.
        annotations = chosen[-1:]
    for annotation in annotations:
        tags: dict[str, list[tuple[str, str]]] = defaultdict(list)
        for result in annotation["result"]:
            for key in ("choices", "taxonomy", "text", "textarea"):
                for value in result.get("value", {}).get(key) or []:
                    text = " / ".join(map(str, value)) if isinstance(value, list) else str(value)
                    tags[result.get("id")].append((result.get("from_name") or key, text))
        for result in annotation["result"]:
            if result.get("type", "").lower() == "videorectangle":
                attributes = tags.get(result.get("id"), [])
                yield result["value"], Tags(tuple(map(str, _labels_of(result["value"]))), tuple(attributes))
            elif result.get("type", "").lower() in (
                "timelinelabels",
                "videopolygon",
                "rectanglelabels",
                "rectangle",
            ):
                labels.left_out[result["type"]] = labels.left_out.get(result["type"], 0) + 1


def _labels_of(value: dict) -> list:
    return value.get("labels") or value.get("videorectanglelabels") or value.get("rectanglelabels") or []


def _regions_of_min(task: dict) -> list[dict]:
    lists = [value for value in task.values() if isinstance(value, list)]
    return [item for values in lists for item in values if isinstance(item, dict) and "sequence" in item]


def _is_video(task: dict) -> bool:
    return any("video" in key.lower() for key in (task.get("data") or task)) and bool(
        task.get("annotations", True)
    )


def _address(task: dict) -> str:
    data = task.get("data") or task
    texts = {key: value for key, value in data.items() if isinstance(value, str)}
    return next((v for k, v in texts.items() if "video" in k.lower()), None) or next(iter(texts.values()))


def _video(
    regions: list[tuple[dict, Tags]], address: str, path: Path, task: str, size: tuple[float, float] | None
) -> LabelledVideo:
    tracks, rates, length = [], [], 0
    for person, (value, tags) in enumerate(regions, start=1):
        with naming(path, f"{task}, region {person}"):
            marks = []
            length = max(length, int(value.get("framesCount") or 0))
            for item in value["sequence"]:
                x, y, width, height = (float(item[key]) / 100 for key in ("x", "y", "width", "height"))
                frame = int(item["frame"])
                box = (x, y, x + width, y + height)
                if degrees := float(item.get("rotation") or 0) % 360:
                    if size is None:
                        raise UserError(f"{path}: {task}: a box is turned; give --videos or --size for that")
                    pixels = tuple(v * side for v, side in zip(box, size * 2, strict=True))
                    box = scaled(turned(*pixels, degrees, corner=True), *size)
                enabled = bool(item.get("enabled", True))
                marks.append(Mark(frame - 1, box, tags, True, enabled))
                if float(item.get("time") or 0) > 0:
                    rates.append(frame / float(item["time"]))
            if marks:
                tracks.append(Track(person, marks))
    last = max((int(track.frames[-1]) + 1 for track in tracks), default=0)
    fps = sorted(rates)[len(rates) // 2] if rates else DEFAULT_FPS
    # Times are rounded: 24 frames a second, not 23.99998.
    fps = round(fps, 3) if abs(fps - round(fps)) > 1e-3 else float(round(fps))
    return LabelledVideo(
        name_of_address(address), address, range(max(length, last)), tracks, fps=fps, length=length or None
    )
