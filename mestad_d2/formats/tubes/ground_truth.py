"""Ground-truth tubes of UCF101-24, JHMDB and MultiSports in the files in which they are shared.

``*-GT.pkl`` (ACT, MOC, MultiSports): frames from 1, corners in pixels. ``finalAnnots.mat`` and ``pyannot.pkl`` (the
corrected UCF101-24): boxes are x, y, width, height in uint8, so x + width overflows unless converted first.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from mestad_d2.errors import UserError
from mestad_d2.formats.safe_pickle import read_arrays
from mestad_d2.formats.tubes.csv_files import TubeDataset, read_tubes
from mestad_d2.formats.tubes.mat_file import read_mat
from mestad_d2.formats.tubes.records import Tubes, VideoInfo, tubes_of

# Of all UCF101 videos (width x height 320 x 240).
_UCF_SIZE = (240, 320)
_PICKLE_KEYS = ("labels", "gttubes", "resolution", "nframes", "train_videos", "test_videos")


def read_truth(
    path: str | Path,
    dataset: TubeDataset | None = None,
    split: int = 1,
    test_list: str | Path | None = None,
    part: str = "test",
) -> tuple[TubeDataset, Tubes]:
    """Read ground-truth tubes of one split.

    Args:
        path: csv of tubes, a pickle of the ACT layout, ``finalAnnots.mat`` or ``pyannot.pkl``.
        dataset: classes and videos, for a csv; without it they are those that occur in it.
        split: official split of a pickle of the ACT layout, from 1.
        test_list: text file with one test video a line, for the annotations of UCF101-24, which name no
            split; without it all videos are taken.
        part: "train" or "test".

    Raises:
        UserError: a file can't be read or is of another layout; names the file and the entry.
    """
    suffix = Path(path).suffix.lower()
    if suffix == ".mat":
        return _ucf24(_from_mat(path), path, test_list, part)
    if suffix in (".pkl", ".pickle"):
        content = read_arrays(path)
        if isinstance(content, Mapping) and "gttubes" in content:
            return _act_layout(content, path, split, part)
        return _ucf24(_from_pyannot(content, path), path, test_list, part)
    tubes = read_tubes(path, dataset.names if dataset else None, truth=True)
    if dataset is None:
        count = int(tubes.label.max(initial=-1)) + 1
        dataset = TubeDataset(tuple(map(str, range(count))), tuple(map(VideoInfo, tubes.videos)))
    return dataset, tubes


def read_test_list(path: str | Path) -> set[str]:
    """Read names of videos, one a line, as in ``testlist01.txt``: ``Class/v_....avi`` or ``Class/v_...``.

    Raises:
        UserError: no such file or no text.
    """
    try:
        lines = Path(path).read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{path}: no list of videos ({error}); give a text file, one video a line") from None
    return {line.split()[0].removesuffix(".avi") for line in lines if line.split()}


def _act_layout(
    content: Mapping[str, Any], path: str | Path, split: int, part: str
) -> tuple[TubeDataset, Tubes]:
    absent = [key for key in _PICKLE_KEYS if key not in content]
    if absent:
        raise UserError(
            f"{path}: no key {', '.join(absent)}; a pickle of tubes has {', '.join(_PICKLE_KEYS)}"
        )
    splits = content[f"{part}_videos"]
    if not 1 <= split <= len(splits):
        raise UserError(f"{path}: has no split {split}, but 1 to {len(splits)}")
    videos, parts = [], []
    for v, name in enumerate(map(str, splits[split - 1])):
        try:
            height, width = content["resolution"][name]
            videos.append(VideoInfo(name, int(content["nframes"][name]), int(height), int(width)))
            tubes = content["gttubes"][name].items() if name in content["gttubes"] else ()
            for label, arrays in tubes:
                for array in arrays:
                    rows = np.asarray(array, dtype=np.float64).reshape(-1, 5)
                    rows = rows[np.argsort(rows[:, 0], kind="stable")]
                    if len(rows):
                        parts.append((v, int(label), 1.0, rows[:, 0].astype(np.int64), rows[:, 1:]))
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            reason = " ".join(f"{type(error).__name__} {error}".split())
            raise UserError(
                f"{path}: video {name}: not of the expected layout ({reason}); see docs/tubes.md"
            ) from None
    dataset = TubeDataset(tuple(map(str, content["labels"])), tuple(videos))
    return dataset, tubes_of(dataset.names, parts)


def _ucf24(
    videos: Iterable[tuple[str, int, list]], path: str | Path, test_list: str | Path | None, part: str
) -> tuple[TubeDataset, Tubes]:
    listed = read_test_list(test_list) if test_list else None
    entries = sorted(videos)
    # Classes are numbered by name, and every video has its own in its name.
    classes = sorted({name.partition("/")[0] for name, *_ in entries})
    infos, parts = [], []
    for name, frames, tubes in entries:
        if listed is not None and (name in listed) != (part == "test"):
            continue
        for label, first, boxes in tubes:
            # In float before x + width: uint8 would overflow.
            boxes = np.asarray(boxes, dtype=np.float64).reshape(-1, 4)
            corners = np.concatenate([boxes[:, :2], boxes[:, :2] + boxes[:, 2:]], axis=1)
            frame = np.arange(first, first + len(boxes))
            if len(boxes):
                parts.append((len(infos), label, 1.0, frame, corners))
        infos.append(VideoInfo(name, frames, *_UCF_SIZE))
    if not infos:
        raise UserError(f"{path}: none of its videos is in {test_list}; give the list of UCF101's own names")
    dataset = TubeDataset(tuple(classes), tuple(infos))
    return dataset, tubes_of(dataset.names, parts)


def _from_mat(path: str | Path) -> list[tuple[str, int, list]]:
    fix = "give finalAnnots.mat"
    content, videos = read_mat(path, fix), []
    try:
        for entry in content["annot"].reshape(-1):
            name = str(entry["name"].item())
            tubes = []
            for tube in entry["tubes"].reshape(-1):
                first, last = int(tube["sf"].item()), int(tube["ef"].item())
                _check_length(path, name, tube["boxes"], last - first + 1)
                tubes.append((int(tube["class"].item()) - 1, first, tube["boxes"]))
            videos.append((name, int(entry["num_imgs"].item()), tubes))
    except UserError:
        raise
    except (KeyError, ValueError, TypeError, IndexError, AttributeError, OverflowError) as error:
        reason = " ".join(f"{type(error).__name__} {error}".split())[:200]
        raise UserError(f"{path}: no annotations of UCF101-24 ({reason}); {fix}") from None
    return videos


def _from_pyannot(content: Any, path: str | Path) -> list[tuple[str, int, list]]:
    videos = []
    try:
        for name, entry in content.items():
            tubes = []
            for tube in entry["annotations"]:
                # From 0 and half open, where finalAnnots.mat counts from 1 and includes the end.
                first, end = int(tube["sf"]), int(tube["ef"])
                _check_length(path, name, tube["boxes"], end - first)
                tubes.append((int(tube["label"]), first + 1, tube["boxes"]))
            videos.append((str(name), int(entry["numf"]), tubes))
    except (KeyError, TypeError, AttributeError) as error:
        reason = " ".join(f"{type(error).__name__} {error}".split())
        raise UserError(
            f"{path}: neither a pickle of tubes nor pyannot.pkl ({reason}); see docs/tubes.md"
        ) from None
    return videos


def _check_length(path: str | Path, name: str, boxes: Any, frames: int) -> None:
    if len(boxes) != frames:
        raise UserError(f"{path}: video {name}: {len(boxes)} boxes in a tube of {frames} frames")
