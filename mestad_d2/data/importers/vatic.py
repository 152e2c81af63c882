"""VATIC's text, as Okutama-Action is published in: a box a line, frames from 0, corners in pixels.

``track xmin ymin xmax ymax frame lost occluded generated "label" "attribute" ...``. A line with ``lost`` 1 is a person
who is not in the picture; one with ``generated`` 1 was interpolated by the tool. Okutama's boxes are pixels of frames of
3840x2160, also beside its videos of 1280x720.
"""

from __future__ import annotations

import re
from collections import defaultdict
from pathlib import Path

from mestad_d2.data.importers.reading import KnownSizes, naming, read_text, scaled, without_suffix
from mestad_d2.data.importers.tracks import LabelledVideo, Labels, Mark, Tags, Track
from mestad_d2.errors import UserError

_FIELD = re.compile(r'"([^"]*)"|(\S+)')
_LINE = re.compile(r"\s*\d+(\s+-?[\d.]+){4}\s+\d+(\s+[01]){3}\s+\S")


def is_vatic(text: str) -> bool:
    """Return whether a text starts like VATIC's."""
    return bool(_LINE.match(text.lstrip("\n")))


def read_vatic(path: Path, sizes: KnownSizes | None = None) -> Labels:
    """Read a text; its name is that of the video.

    Raises:
        UserError: malformed; names the row. The size of the frames is not known.
    """
    name = without_suffix(path.stem if path.suffix == ".txt" else path.name)
    size = sizes.get(name) if sizes else None
    if size is None:
        raise UserError(
            f"{path}: the size of the frames is not in it; give --size WIDTHxHEIGHT (Okutama: 3840x2160)"
        )
    tracks: dict[int, Track] = {}
    seen: dict[int, set[int]] = defaultdict(set)
    last = -1
    for row, line in enumerate(read_text(path).split("\n"), start=1):
        if not line.strip():
            continue
        with naming(path, f"row {row}"):
            fields = [quoted or bare for quoted, bare in _FIELD.findall(line)]
            if len(fields) < 10:
                raise ValueError(f"{len(fields)} fields, where ten are the least")
            person, frame = int(fields[0]), int(fields[5])
            lost, _, generated = (int(field) for field in fields[6:9])
            last = max(last, frame)
            if frame in seen[person]:
                raise ValueError(f"track {person} stands there twice on frame {frame}")
            seen[person].add(frame)
            box = scaled(map(float, fields[1:5]), *size)
            tags = Tags((fields[9],), tuple((action, "true") for action in fields[10:] if action))
            track = tracks.setdefault(person, Track(person))
            track.marks.append(Mark(frame, box, tags, visible=not lost, drawn=not generated))
    if not tracks:
        raise UserError(f"{path}: no line in it; give a text of VATIC")
    return Labels([LabelledVideo(name, str(path), range(last + 1), list(tracks.values()))])
