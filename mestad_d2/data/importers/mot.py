"""MOTChallenge text: a box a line, ``frame,id,x,y,width,height,considered,class,visibility``, frames from 1.

Read with ``seqinfo.ini`` (frame rate, length and size) and ``labels.txt`` (names of the classes, as CVAT writes it) where
they lie beside it.
"""

from __future__ import annotations

import configparser
from collections import defaultdict
from pathlib import Path

from mestad_d2.data.importers.cvat import tracks_of_boxes
from mestad_d2.data.importers.reading import KnownSizes, naming, read_text, scaled
from mestad_d2.data.importers.tracks import LabelledVideo, Labels, Tags
from mestad_d2.errors import UserError
from mestad_d2.formats.ava_csv import raw_csv_lines

# MOT16's classes, motchallenge.net/instructions and arXiv 1603.00831, table 3.
CLASSES = (
    "pedestrian", "person on vehicle", "car", "bicycle", "motorbike", "non motorized vehicle", "static person",
    "distractor", "occluder", "occluder on the ground", "occluder full", "reflection",
)  # fmt: skip
_NAMES_OF_FOLDERS = ("gt", "det", "annotations")


def read_mot(path: Path, sizes: KnownSizes | None = None) -> Labels:
    """Read a text, or the folder of a sequence with ``gt/gt.txt``.

    Raises:
        UserError: malformed; names the row. The size of the frames is not known.
    """
    file = path / "gt" / "gt.txt" if path.is_dir() else path
    above = file.parent.parent if file.parent.name in _NAMES_OF_FOLDERS else file.parent
    facts = _seqinfo(above / "seqinfo.ini")
    named = file.parent.name in _NAMES_OF_FOLDERS or file.stem in ("gt", "det")
    name = facts.get("name") or (above.name if named else file.stem)
    width, height = float(facts.get("imwidth") or 0), float(facts.get("imheight") or 0)
    size = (width, height) if width and height else (sizes.get(name) if sizes else None)
    if size is None:
        raise UserError(
            f"{file}: the size of the frames is not in it; give --videos or --size, or add seqinfo.ini"
        )
    names = _class_names(file.parent / "labels.txt")
    labels = Labels([], ids={text: number for number, text in names.items()})
    frames: dict[int, list] = defaultdict(list)
    for row, fields in raw_csv_lines(file):
        if not fields or fields[0].lstrip().startswith("#"):
            continue
        with naming(file, f"row {row}"):
            if len(fields) < 6:
                raise ValueError(f"{len(fields)} fields, where frame,id,x,y,width,height are the least")
            frame, person = int(float(fields[0])), int(float(fields[1]))
            x, y, w, h = map(float, fields[2:6])
            # Ten fields end in coordinates of the world; nine in class and visibility.
            known = len(fields) in (8, 9)
            if frame < 1:
                raise ValueError(f"frame {frame}, where frames count from 1")
            if known and float(fields[6]) == 0:
                labels.left_out["boxes not to be considered"] = (
                    labels.left_out.get("boxes not to be considered", 0) + 1
                )
                frames[frame - 1] += []
                continue
            number = int(float(fields[7])) if known else 0
            label = names.get(number, f"class {number}") if number > 0 else "person"
            frames[frame - 1].append((person, scaled((x, y, x + w, y + h), *size), Tags((label,))))
    length = int(facts.get("seqlength") or 0) or max(frames, default=-1) + 1
    fps = float(facts["framerate"]) if facts.get("framerate") else None
    used = {tag for boxes in frames.values() for _, _, tags in boxes for tag in tags.labels}
    labels.ids = {text: number for text, number in labels.ids.items() if text in used} if used else labels.ids
    labels.options = list(labels.ids)
    video = LabelledVideo(
        name,
        str(file),
        range(length),
        tracks_of_boxes(frames),
        fps=fps,
        length=int(facts.get("seqlength") or 0) or None,
    )
    labels.videos.append(video)
    return labels


def _seqinfo(path: Path) -> dict[str, str]:
    if not path.is_file():
        return {}
    parser = configparser.ConfigParser(interpolation=None)
    try:
        parser.read_string(read_text(path))
    except configparser.Error as error:
        raise UserError(
            f"{path}: {' '.join(str(error).split())}; write [Sequence] and lines key=value"
        ) from error
    return dict(parser["Sequence"]) if parser.has_section("Sequence") else {}


def _class_names(path: Path) -> dict[int, str]:
    if not path.is_file():
        return dict(enumerate(CLASSES, start=1))
    lines = [line.strip() for line in read_text(path).split("\n")]
    return {number: line for number, line in enumerate(lines, start=1) if line}
