"""Find the videos that a command line names: files, folders, patterns, and lists on standard input."""

from __future__ import annotations

import glob
import os
import sys
from collections.abc import Iterable

from mestad_d2.errors import UserError, counted
from mestad_d2.video.folder import FRAME_SUFFIXES
from mestad_d2.video.video_locations import is_video_name

STDIN = "-"


def find_inputs(inputs: Iterable[str]) -> list[str]:
    """List the videos that inputs stand for, in order.

    A folder of videos and a pattern (``clips/*.mp4``) stand for their videos in order of name; a folder of frames, a
    video and whatever is not there stand for themselves. ``-`` stands for the lines of standard input.

    Raises:
        UserError: a folder holds videos and pictures, a pattern matches no video, or standard input names none.
    """
    found: list[str] = []
    for given in inputs:
        for one in read_lines(STDIN) if given == STDIN else [given]:
            found += _videos(one)
    return found


def read_lines(path: str | os.PathLike[str]) -> list[str]:
    """Read the lines of a list of videos, ``-`` for standard input; empty ones and # comments stay in, stripped.

    Raises:
        UserError: no such file, or no text.
    """
    name = "standard input" if path == STDIN else path
    try:
        if path == STDIN:
            content = sys.stdin.buffer.read()
        else:
            with open(path, "rb") as file:
                content = file.read()
        # Split at line feeds only: str.splitlines knows ten more signs, and file names may hold them.
        lines = [line.strip(" \t\r\n") for line in content.decode("utf-8-sig").split("\n")]
    except OSError as error:
        raise UserError(f"{name}: the list can't be read ({error.strerror})") from error
    except UnicodeDecodeError as error:
        raise UserError(
            f"{name}: no list of paths (not UTF-8); give a text file, one video a line"
        ) from error
    if path != STDIN:
        return lines
    videos = [line for line in lines if line and not line.startswith("#")]
    if not videos:
        raise UserError(f"{name}: no video in this list; write one path a line")
    if STDIN in videos:
        raise UserError(f"{name}: a line is '-', which stands for the list itself; remove it")
    return videos


def _videos(given: str) -> list[str]:
    """The videos that one input stands for."""
    if os.path.isdir(given):
        return _videos_of_folder(given) or [given]
    # A file may have such signs in its name.
    if not glob.has_magic(given) or os.path.lexists(given):
        return [given]
    matches = sorted(glob.glob(given, recursive=True))
    folders = [path for path in matches if os.path.isdir(path) and _names(path)]
    videos = [path for path in matches if os.path.isfile(path) and is_video_name(path)]
    # With "**" a folder is there beside its own files.
    folders = [path for path in folders if not any(_inside(video, path) for video in videos)]
    if not folders and not videos:
        others = f"; {len(matches)} other files do" if matches else ""
        raise UserError(f"{given}: no video matches this pattern{others}; check it, and put it in quotes")
    return sorted([*videos, *(video for path in folders for video in _videos_of_folder(path) or [path])])


def _inside(path: str, folder: str) -> bool:
    return path.startswith(os.path.join(folder, ""))


def _names(folder: str) -> list[str]:
    """Videos and pictures directly in a folder."""
    try:
        names = sorted(name for name in os.listdir(folder) if not name.startswith("."))
    except OSError as error:
        raise UserError(f"{folder}: can't be read ({error.strerror}); give another folder") from error
    return [name for name in names if is_video_name(name) or name.lower().endswith(FRAME_SUFFIXES)]


def _videos_of_folder(folder: str) -> list[str]:
    """The videos of a folder; none where it holds no videos but frames, or nothing."""
    names = _names(folder)
    videos = [name for name in names if is_video_name(name)]
    if videos and len(videos) < len(names):
        raise UserError(
            f"{folder}: holds {counted(len(videos), 'video')} ({videos[0]}) and "
            f"{counted(len(names) - len(videos), 'picture')}; "
            "put the frames of a video into a folder of their own, or name the videos by a pattern"
        )
    return [os.path.join(folder, name) for name in videos]
