"""Opening a media file and finding its picture."""

from __future__ import annotations

import os
from pathlib import Path

import av

from mestad_d2.errors import UserError


def open_video(path: str | os.PathLike[str]) -> av.container.InputContainer:
    """Open a video file.

    Raises:
        UserError: no such file, no media file, or one without a picture stream.
    """
    if not Path(path).is_file():
        raise UserError(f"{path}: no such video file or folder of frames")
    try:
        container = av.open(str(path), metadata_errors="ignore")
    except (av.FFmpegError, OSError, ValueError) as error:
        raise UserError(f"{path}: no video that can be read ({reason(error)})") from error
    if not container.streams.video:
        container.close()
        raise UserError(f"{path}: no picture in this file; give a video")
    if container.streams.video[0].codec_context is None:
        container.close()
        raise UserError(f"{path}: coded in a way that this FFmpeg can't read; encode it as h264")
    return container


def reason(error: Exception) -> str:
    """The first line of what an error says."""
    return str(getattr(error, "strerror", None) or error).strip().splitlines()[0]
