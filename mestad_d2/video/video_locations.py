"""Where the file or folder of frames of a video is, in the namings people have."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path

from mestad_d2.errors import UserError
from mestad_d2.video.frame_list import FrameList, ListedVideo

VIDEO_SUFFIXES = (".mp4", ".mkv", ".avi", ".webm", ".mov", ".m4v")
# A folder of video files or of folders of frames, or a frame list in its place.
VideoRoot = str | os.PathLike[str] | FrameList
# Kinetics' clips: id, first and last second in the video that they were cut from.
_KINETICS = re.compile(r"(.+)_(\d{6})_(\d{6})", flags=re.S)


def find_video(root: VideoRoot, video_id: str) -> str | ListedVideo | None:
    """File or folder of frames of a video below ``root``; None if it is not there.

    Besides ``<id>.mp4`` and the like and ``<id>/``, Kinetics' ``<id>_000012_000022.mp4`` is found. A frame
    list may stand for the folder.

    Raises:
        UserError: the id would leave ``root``, or the frame list is malformed.
    """
    if isinstance(root, FrameList):
        return ListedVideo(root, video_id) if video_id in root.videos() else None
    if video_id in ("", ".", "..") or Path(video_id).is_absolute() or ".." in Path(video_id).parts:
        raise UserError(f"{root}: video id {video_id!r} leaves the folder of videos; rename it")
    for suffix in VIDEO_SUFFIXES:
        path = os.path.join(root, video_id + suffix)
        # Path.is_file raises where a name is too long for the file system.
        if os.path.isfile(path):
            return path
    folder = os.path.join(root, video_id)
    if os.path.isdir(folder):
        return folder
    try:
        return _kinetics_clips(os.fspath(root), os.stat(root).st_mtime_ns).get(video_id)
    except OSError:
        return None


def locate_videos(video_ids: Sequence[str], root: VideoRoot) -> dict[str, str | ListedVideo]:
    """Where every video is.

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
        raise UserError(
            f"{root}: {len(missing)} of {len(paths)} videos are missing ({names}); "
            f"put <video id>{{{','.join(VIDEO_SUFFIXES)}}} or a folder of frames there"
        )
    return paths


def named_start(path: str | ListedVideo, video_id: str) -> float | None:
    """The second at which a clip begins, where its name tells it in Kinetics' way and the id does not."""
    if isinstance(path, ListedVideo):
        return None
    name = os.path.basename(path)
    match = _KINETICS.fullmatch(name if os.path.isdir(path) else os.path.splitext(name)[0])
    return float(match.group(2)) if match and match.group(1) == os.path.basename(video_id) else None


@lru_cache(maxsize=4)
def _kinetics_clips(root: str, changed: int) -> dict[str, str]:
    """Clips of a folder by video id; of several from one video the earliest. ``changed``: when it was."""
    clips: dict[str, str] = {}
    with os.scandir(root) as entries:
        for entry in sorted(entries, key=lambda entry: entry.name):
            stem, suffix = os.path.splitext(entry.name)
            named = stem if suffix in VIDEO_SUFFIXES else entry.name if entry.is_dir() else ""
            match = _KINETICS.fullmatch(named)
            if match:
                clips.setdefault(match.group(1), entry.path)
    return clips
