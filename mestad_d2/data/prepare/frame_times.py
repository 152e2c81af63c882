"""When each frame of a video is shown."""

from __future__ import annotations

import os

import numpy as np

from mestad_d2.video.folder import FOLDER_FPS
from mestad_d2.video.source import VideoSource, open_source
from mestad_d2.video.stream import iterate_frames


def frame_times(video: VideoSource | str | os.PathLike[str], folder_fps: float = FOLDER_FPS) -> np.ndarray:
    """Return the ascending times (F,) of all frames in s since the first one, without decoding where possible.

    Args:
        video: description, or what ``open_source`` makes one of.
        folder_fps: frames per second of a folder, where ``video`` is no description.

    Raises:
        UserError: nothing there that can be read.
    """
    source = open_source(video, folder_fps=folder_fps)
    times = source.frame_times()
    return np.array([frame.time for frame in iterate_frames(source)]) if times is None else times
