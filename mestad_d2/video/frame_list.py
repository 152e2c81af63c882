"""Lists of frames, of PySlowFast and of mmaction2: which pictures belong to which video."""

from __future__ import annotations

import os
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from mestad_d2.errors import UserError
from mestad_d2.video.folder import FrameFolder, list_frames

HEADER = ("original_vido_id", "original_video_id")


@dataclass(frozen=True)
class FrameList:
    """A list of frames in place of a folder of videos.

    Attributes:
        folder: that the paths of the list start from.
        path: of the list.
    """

    folder: str
    path: str

    def __str__(self) -> str:
        return self.path

    def videos(self) -> dict[str, FrameFolder]:
        """Return the pictures of each video, read once in each process.

        Raises:
            UserError: the list is malformed; names file and row.
        """
        return _listed_folders(self)


@dataclass(frozen=True)
class ListedVideo:
    """One video of a frame list."""

    root: FrameList
    video_id: str

    def __str__(self) -> str:
        return f"{self.root}: {self.video_id}"


@lru_cache(maxsize=8)
def _listed_folders(frame_list: FrameList) -> dict[str, FrameFolder]:
    frames = read_frame_list(frame_list.path, frame_list.folder)
    # One video at a time, since AVA's millions of paths then shrink to a rule for each video.
    return {video: FrameFolder(frame_list.folder, frames.pop(video)) for video in list(frames)}


@lru_cache(maxsize=512)
def open_folder(place: str | ListedVideo) -> FrameFolder:
    """List the pictures of a folder or of a listed video, once in each process.

    Raises:
        UserError: no picture in it; a frame list is malformed or lacks the video.
    """
    if isinstance(place, str):
        return FrameFolder(place)
    folders = place.root.videos()
    if place.video_id not in folders:
        raise UserError(f"{place.root}: no row of video {place.video_id!r}; add its frames")
    return folders[place.video_id]


def read_frame_list(path: str | Path, folder: str | Path) -> dict[str, list[str]]:
    """Read the paths, below ``folder``, of each video's frames.

    PySlowFast's lines have five fields, separated by spaces: original id, video id, frame id, path, labels. As in
    PySlowFast, field 1 is the video id and the order of the lines is that of the frames. mmaction2's lines
    name a folder, how many of its first pictures count, and labels, all numbers; the folder is the video id. With an
    offset (``with_offset``), the number of pictures to leave out stands before how many count.

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
        frames[video] = _pictures(path, row, folder, video, [int(field) for field in fields[1:]])
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
    if name.startswith("/") or (".." in name and ".." in name.split("/")):
        raise UserError(f"{path}: row {row}: {name!r} leaves the folder of frames; write a path below it")


def _pictures(path: str | Path, row: int, folder: str | Path, video: str, numbers: list[int]) -> list[str]:
    """The pictures of a row of mmaction2's: ``total label ...`` or, with an offset, ``offset total label``."""
    names = []
    place = os.path.join(folder, video)
    if os.path.isdir(place):
        try:
            names = [f"{video}/{picture.name}" for picture in list_frames(place)]
        except UserError as error:
            raise UserError(f"{path}: row {row}: {error}") from error
    first, count = 0, numbers[0]
    # Three numbers may also be a total and two labels: then the total is that of the folder.
    if len(numbers) == 3 and count != len(names) and 0 < numbers[1] <= len(names) - count:
        first, count = numbers[:2]
    if not 0 < count <= len(names):
        raise UserError(
            f"{path}: row {row}: {count} frames of {video!r}, where {len(names)} pictures are below {folder}; "
            "check the list and the folder that its paths start from"
        )
    return names[first : first + count]
