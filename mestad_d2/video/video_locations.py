"""Find the file or folder of frames of a video, under all common naming schemes."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path

from mestad_d2.errors import UserError
from mestad_d2.video.frame_list import FrameList, ListedVideo

# Suffixes of video files, in any case; if a video exists with two suffixes, the first one here wins.
VIDEO_SUFFIXES = tuple(
    ".mp4 .mkv .avi .webm .mov .m4v .mpg .mpeg .ts .mts .m2ts .m2t .m2v .wmv .asf .flv .f4v .3gp .3g2 .ogv .ogg .vob "
    ".mxf .rm .rmvb .dv .divx .xvid .qt .mod .tod .wtv .dvr-ms .dav .nut .ivf .y4m .gif .mjpeg .mjpg .mpv .m4s .h264 "
    ".264 .h265 .265 .hevc .av1 .obu .amv .mp4v .trp .tp .mve .bik .ismv".split()
)
# A folder of video files or of folders of frames, or a frame list in its place.
VideoRoot = str | os.PathLike[str] | FrameList
# Kinetics' clips: id, first and last second in the video that they were cut from.
_KINETICS = re.compile(r"(.+)_(\d{6})_(\d{6})", flags=re.S)


def find_video(root: VideoRoot, video_id: str) -> str | ListedVideo | None:
    """Find the file or folder of frames of a video below ``root``; None if it is missing.

    Besides ``<id>.mp4`` and the like and ``<id>/``, Kinetics' ``<id>_000012_000022.mp4`` is found. A frame
    list may stand for the folder.

    Raises:
        UserError: the id would leave ``root``, or the frame list is malformed.
    """
    if isinstance(root, FrameList):
        return ListedVideo(root, video_id) if video_id in root.videos() else None
    if video_id in ("", ".", "..") or Path(video_id).is_absolute() or ".." in Path(video_id).parts:
        raise UserError(f"{root}: video id {video_id!r} leaves the folder of videos; rename it")
    files = [path for path in _files_of_stem(root, video_id) if is_video_name(path)]
    if files:
        order = {suffix: place for place, suffix in enumerate(VIDEO_SUFFIXES)}
        return min(files, key=lambda path: (order[os.path.splitext(path)[1].lower()], path))
    folder = os.path.join(root, video_id)
    if os.path.isdir(folder):
        return folder
    try:
        return _kinetics_clips(os.fspath(root), os.stat(root).st_mtime_ns).get(video_id)
    except OSError:
        return None


def locate_videos(video_ids: Sequence[str], root: VideoRoot) -> dict[str, str | ListedVideo]:
    """Find the file or folder of every video.

    Raises:
        UserError: some are missing; names the first ones.
    """
    paths = {video_id: find_video(root, video_id) for video_id in sorted(set(video_ids))}
    missing = [video_id for video_id, path in paths.items() if path is None]
    if missing:
        names = ", ".join(missing[:3]) + (" ..." if len(missing) > 3 else "")
        if isinstance(root, FrameList):
            raise UserError(
                f"{root}: {len(missing)} of {len(paths)} videos are not in this frame list ({names}); "
                "add their frames"
            )
        others = [path for video_id in missing for path in _files_of_stem(root, video_id)]
        hint = (
            f"; {os.path.basename(others[0])} is there, but its suffix is none of a video" if others else ""
        )
        raise UserError(
            f"{root}: {len(missing)} of {len(paths)} videos are missing ({names}); "
            f"put <video id>.mp4, or with the suffix of another container, or a folder of frames there{hint}"
        )
    return paths


def named_start(path: str | ListedVideo, video_id: str) -> float | None:
    """Return the second at which a clip starts if its file name is ``video_id`` in Kinetics style, else None."""
    if isinstance(path, ListedVideo):
        return None
    name = os.path.basename(path)
    match = _KINETICS.fullmatch(name if os.path.isdir(path) else os.path.splitext(name)[0])
    return float(match.group(2)) if match and match.group(1) == os.path.basename(video_id) else None


def is_video_name(path: str | os.PathLike[str]) -> bool:
    """Return whether a file's suffix, in any case, is that of a video."""
    return os.path.splitext(path)[1].lower() in VIDEO_SUFFIXES


def _files_of_stem(root: VideoRoot, video_id: str) -> list[str]:
    """Files whose name without the suffix is the id, whatever the suffix."""
    folder, stem = os.path.split(os.path.join(root, video_id))
    try:
        return list(_by_stem(folder, os.stat(folder).st_mtime_ns).get(stem, ()))
    except (OSError, ValueError):
        return []


@lru_cache(maxsize=64)
def _by_stem(folder: str, changed: int) -> dict[str, list[str]]:
    """Files of a folder by name without suffix. ``changed``: when it was."""
    files: dict[str, list[str]] = {}
    with os.scandir(folder) as entries:
        for entry in entries:
            if entry.is_file() and not entry.name.startswith("."):
                files.setdefault(os.path.splitext(entry.name)[0], []).append(entry.path)
    return files


@lru_cache(maxsize=4)
def _kinetics_clips(root: str, changed: int) -> dict[str, str]:
    """Clips of a folder by video id; the earliest clip of a video wins. ``changed``: when it was."""
    clips: dict[str, str] = {}
    with os.scandir(root) as entries:
        for entry in sorted(entries, key=lambda entry: entry.name):
            stem, suffix = os.path.splitext(entry.name)
            named = stem if suffix.lower() in VIDEO_SUFFIXES else entry.name if entry.is_dir() else ""
            match = _KINETICS.fullmatch(named)
            if match:
                clips.setdefault(match.group(1), entry.path)
    return clips
