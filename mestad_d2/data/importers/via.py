"""VGG Image Annotator 3, csv of a video project: a rectangle a row, at a time in seconds."""

from __future__ import annotations

import json
from collections import defaultdict
from pathlib import Path

from mestad_d2.data.importers.cvat import tracks_of_boxes
from mestad_d2.data.importers.reading import KnownSizes, name_of_address, naming, read_text, scaled
from mestad_d2.data.importers.tracks import LabelledVideo, Labels, Tags
from mestad_d2.errors import UserError
from mestad_d2.formats.ava_csv import raw_csv_lines

COLUMNS = ["metadata_id", "file_list", "flags", "temporal_coordinates", "spatial_coordinates", "metadata"]
# Ids that the tool gives to its shapes; EXTREME_RECTANGLE has four points more.
RECTANGLE, POLYGON, EXTREME_RECTANGLE = 2, 7, 8
# Kinds of attributes: text, checkbox, radio, select, image.
_KINDS = {1: "text", 2: "options", 3: "radio", 4: "select"}
_PERSON = ("person_id", "person id", "track_id", "track id", "track", "person")
_ATTRIBUTE_HEADS = ("# ATTRIBUTE =", "# ATTRIBUTES =")


def is_via(text: str) -> bool:
    """Return whether a text is a csv of VIA 3."""
    return "CSV_HEADER" in text[:100_000] and "temporal_coordinates" in text[:100_000]


def read_via(path: Path, sizes: KnownSizes | None = None) -> Labels:
    """Read a file.

    Args:
        path: the csv.
        sizes: of the frames; the file does not say it.

    Raises:
        UserError: malformed; names the row. The size of a video is not known.
    """
    text = read_text(path)
    attributes, labels = _attributes(text, path), Labels([])
    for attribute in attributes.values():
        labels.kinds[attribute["aname"]] = _KINDS.get(attribute["type"], "text")
        if attribute["type"] in (2, 3, 4):
            labels.options += [str(name) for name in attribute["options"].values()]
    videos: dict[str, dict[float, list]] = defaultdict(lambda: defaultdict(list))
    for row, fields in raw_csv_lines(path):
        if not fields or fields[0].lstrip().startswith("#"):
            continue
        with naming(path, f"row {row}"):
            if len([f for f in fields if f]) < 5 or len(fields) < len(COLUMNS):
                raise ValueError(f"{len(fields)} fields, where {', '.join(COLUMNS)} are expected")
            files, times, shape, said = (json.loads(fields[i] or "[]") for i in (1, 3, 4, 5))
            address = str(files[0])
            if not times or not shape:
                kind = "rows without a rectangle" if times else "rows without a time"
                labels.left_out[kind] = labels.left_out.get(kind, 0) + 1
                continue
            corners = _corners(shape)
            if corners is None:
                labels.left_out["other shapes"] = labels.left_out.get("other shapes", 0) + 1
                continue
            size = sizes.get(name_of_address(address)) if sizes else None
            if size is None:
                raise UserError(f"{path}: the size of {address} is not in it; give --videos or --size")
            tags, person = _tags(said, attributes)
            videos[address][float(times[0])].append((person, scaled(corners, *size), tags))
    if not videos:
        raise UserError(f"{path}: no rectangle at a time in it; export the csv of a video project of VIA 3")
    for address, frames in videos.items():
        labels.videos.append(
            LabelledVideo(name_of_address(address), address, sorted(frames), tracks_of_boxes(frames), fps=1.0)
        )
    return labels


def _attributes(text: str, path: Path) -> dict[str, dict]:
    for line in text.split("\n"):
        if line.startswith(_ATTRIBUTE_HEADS):
            with naming(path, "the line of attributes"):
                # Spreadsheets put quotes around the line and double those inside.
                found = json.loads(line.partition("=")[2].strip())
                named = {key: v if isinstance(v, dict) else {"aname": str(v)} for key, v in found.items()}
                return {str(key): _attribute(value) for key, value in named.items()}
    return {}


def _attribute(entry: dict) -> dict:
    """Name, number of the kind (None where it is none) and options of an attribute."""
    kind, options = entry.get("type"), entry.get("options") or {}
    if not isinstance(options, dict):
        raise ValueError(f"options {options!r:.60} are no mapping of numbers to names")
    return {"aname": str(entry["aname"]), "type": kind if isinstance(kind, int) else None, "options": options}


def _corners(shape: list) -> tuple[float, float, float, float] | None:
    kind, *numbers = shape
    if kind in (RECTANGLE, EXTREME_RECTANGLE) and len(numbers) >= 4:
        x, y, width, height = map(float, numbers[:4])
        return x, y, x + width, y + height
    if kind == POLYGON and len(numbers) >= 6:
        return min(numbers[::2]), min(numbers[1::2]), max(numbers[::2]), max(numbers[1::2])
    return None


def _tags(said: dict, attributes: dict[str, dict]) -> tuple[Tags, int]:
    """Names for the numbers that the file uses for attributes and options; tick boxes may have several options."""
    values, person = [], -1
    for key, text in said.items():
        attribute = attributes.get(str(key), {"aname": str(key)})
        options = attribute.get("options") or {}
        parts = str(text).split(",") if attribute.get("type") == 2 else [str(text)]
        for part in filter(None, (p.strip() for p in parts)):
            values.append((attribute["aname"], str(options.get(part, part))))
        if attribute["aname"].strip().lower() in _PERSON and str(text).strip().isdigit():
            person = int(text)
    return Tags((), tuple(values)), person
