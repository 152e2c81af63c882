"""Lists of frames, of PySlowFast and of mmaction2, and how they are named as places of videos.

Where a folder of videos is named, ``folder::list`` names the videos of a list whose paths start from that
folder, and ``folder::list::video`` is one of them. These are strings, as dataset dicts, caches and messages
hold paths.
"""

from __future__ import annotations

import os
from pathlib import Path

from mestad_d2.errors import UserError
from mestad_d2.video.stream import list_frames

HEADER = ("original_vido_id", "original_video_id")
_MARK = "::"


def listed_root(folder: str | os.PathLike[str], frame_list: str | os.PathLike[str]) -> str:
    """The name under which the videos of a list are found.

    Raises:
        UserError: a path has the mark in it.
    """
    for path in map(os.fspath, (folder, frame_list)):
        if _MARK in path:
            raise UserError(f"{path}: {_MARK} in the path of a frame list or its frames; rename the folder")
    return _MARK.join(map(os.fspath, (folder, frame_list)))


def listed_video(root: str | os.PathLike[str], video: str) -> str:
    """The name of one video of a list; ``root`` as of ``listed_root``."""
    return _MARK.join((os.fspath(root), video))


def split_listed(path: str) -> tuple[str, str, str] | None:
    """Folder, list and video of a name made here, video "" where it names them all; None for other paths."""
    parts = os.fspath(path).split(_MARK, 2)
    return (parts[0], parts[1], parts[2] if len(parts) == 3 else "") if len(parts) > 1 else None


def read_frame_list(path: str | Path, folder: str | Path) -> dict[str, list[str]]:
    """Paths, below ``folder``, of each video's frames.

    PySlowFast's lines have five fields, separated by spaces: original id, video id, frame id, path, labels. As it
    does, the first is taken for the video and the order of the lines for that of the frames. mmaction2's lines
    name a folder, how many of its first pictures count, and labels, all numbers; the folder is the video id.

    Raises:
        UserError: names file and row; a path or id that leaves its folder, a folder with too few pictures.
    """
    frames: dict[str, list[str]] = {}
    try:
        with open(path, encoding="utf-8-sig") as file:
            for row, line in enumerate(file, start=1):
                fields = line.split()
                if fields and not (row == 1 and fields[0] in HEADER):
                    _add(frames, fields, path, row, folder)
    except UserError:
        raise
    except (OSError, ValueError) as error:
        raise UserError(f"{path}: no frame list that can be read ({error})") from error
    return frames


def _add(
    frames: dict[str, list[str]], fields: list[str], path: str | Path, row: int, folder: str | Path
) -> None:
    video = fields[0]
    if len(fields) > 1 and all(map(_is_number, fields[1:])):
        _check_inside(path, row, video)
        video = video.strip("/")
        if video in frames:
            raise UserError(f"{path}: row {row}: {video!r} stands there twice; remove one row")
        frames[video] = _pictures(path, row, folder, video, int(fields[1]))
        return
    if len(fields) not in (4, 5):
        raise UserError(
            f"{path}: row {row}: {len(fields)} fields; write original_vido_id video_id frame_id path labels, "
            "or folder number_of_frames label"
        )
    if video not in frames:
        _check_inside(path, row, video)
        frames[video] = []
    _check_inside(path, row, fields[3])
    frames[video].append(fields[3])


def _is_number(text: str) -> bool:
    return text.isascii() and text.isdigit()


def _check_inside(path: str | Path, row: int, name: str) -> None:
    if len(name) > 1024:
        raise UserError(f"{path}: row {row}: {name[:40]!r}... is too long for a path; write a shorter one")
    if name.startswith("/") or (".." in name and ".." in name.split("/")) or _MARK in name:
        raise UserError(f"{path}: row {row}: {name!r} leaves the folder of frames; write a path below it")


def _pictures(path: str | Path, row: int, folder: str | Path, video: str, count: int) -> list[str]:
    try:
        names = [f"{video}/{picture.name}" for picture in list_frames(os.path.join(folder, video))]
    except (UserError, OSError, ValueError):
        names = []
    if not 0 < count <= len(names):
        raise UserError(
            f"{path}: row {row}: {count} frames of {video!r}, where {len(names)} pictures are below {folder}; "
            "check the list and the folder that its paths start from"
        )
    return names[:count]
