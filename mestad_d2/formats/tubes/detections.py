"""Detected tubes and frame detections in the files that published projects write."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from mestad_d2.errors import UserError
from mestad_d2.formats.safe_pickle import read_arrays
from mestad_d2.formats.tubes.csv_files import TubeDataset, csv_form, read_frames, read_tubelets, read_tubes
from mestad_d2.formats.tubes.records import FrameBoxes, Tubelets, Tubes, tubes_of


def read_detections(path: str | Path, dataset: TubeDataset) -> Tubes | FrameBoxes | Tubelets:
    """Read detections; the format is detected from the content.

    - csv of tubes, of frame detections or of tubelets (by the header);
    - MultiSports' pickle of frames: rows video index, frame, label, score, x1, y1, x2, y2;
    - MultiSports' pickle of tubes: {label: [(video, score, rows frame, x1, y1, x2, y2, box score)]};
    - a folder with ACT's or MOC's ``VIDEO_tubes.pkl``: {label: [(rows, score)]}.

    Raises:
        UserError: names the file and what is wrong.
    """
    path = Path(path)
    if path.is_dir():
        return _act_folder(path, dataset)
    if path.suffix.lower() not in (".pkl", ".pickle"):
        form = csv_form(path)
        if form == "ground truth":
            raise UserError(f"{path}: has no column score, so it is ground truth; give detections")
        return {"tubes": read_tubes, "frames": read_frames, "tubelets": read_tubelets}[form](
            path, dataset.names
        )
    content = read_arrays(path)
    if isinstance(content, np.ndarray):
        return _multisports_frames(content, path, dataset)
    return _multisports_tubes(content, path, dataset)


def _multisports_frames(rows: np.ndarray, path: Path, dataset: TubeDataset) -> FrameBoxes:
    if rows.ndim != 2 or rows.shape[1] != 8:
        raise UserError(
            f"{path}: an array {rows.shape}; frame detections are (n, 8): video index, frame, label, score, box"
        )
    # Narrow types: a big dataset has tens of millions of rows.
    video = rows[:, 0].astype(np.int32)
    if len(video) and not (0 <= video.min() and video.max() < len(dataset.videos)):
        raise UserError(f"{path}: video index {video.max()}; the dataset has {len(dataset.videos)} videos")
    return FrameBoxes(
        dataset.names,
        video,
        rows[:, 1].astype(np.int32),
        rows[:, 2].astype(np.int16),
        rows[:, 3],
        rows[:, 4:8],
    )


def _multisports_tubes(content: Any, path: Path, dataset: TubeDataset) -> Tubes:
    index = {name: i for i, name in enumerate(dataset.names)}
    parts = []
    try:
        for label, tubes in content.items():
            for name, score, rows in tubes:
                if name not in index:
                    raise UserError(f"{path}: video {name!r} is not among the {len(index)} of the dataset")
                parts.append((index[name], int(label), float(score), *_rows(rows)))
    except (TypeError, ValueError, AttributeError) as error:
        if isinstance(error, UserError):
            raise
        raise UserError(
            f"{path}: not {{label: [(video, score, array)]}} ({error}); see docs/tubes.md"
        ) from None
    return tubes_of(dataset.names, parts)


def _act_folder(folder: Path, dataset: TubeDataset) -> Tubes:
    parts = []
    for v, name in enumerate(dataset.names):
        path = folder / f"{name}_tubes.pkl"
        if not path.exists():
            raise UserError(f"{path}: no such file; the folder must have one for each test video")
        content = read_arrays(path)
        if not isinstance(content, Mapping):
            raise UserError(f"{path}: not {{label: [(array, score)]}}; see docs/tubes.md")
        try:
            for label, tubes in content.items():
                parts += [(v, int(label), float(score), *_rows(rows)) for rows, score in tubes]
        except (TypeError, ValueError) as error:
            raise UserError(f"{path}: not {{label: [(array, score)]}} ({error}); see docs/tubes.md") from None
    return tubes_of(dataset.names, parts)


def _rows(rows: Any) -> tuple[np.ndarray, np.ndarray]:
    rows = np.asarray(rows)
    if rows.ndim != 2 or rows.shape[1] < 5 or not len(rows):
        raise ValueError(f"an array {rows.shape} where (frames, 5 or 6) is expected")
    return rows[:, 0].astype(np.int32), rows[:, 1:5]
