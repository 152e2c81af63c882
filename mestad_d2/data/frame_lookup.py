"""Single frames by the names that csv files use, for pictures in reports."""

from __future__ import annotations

import logging
from pathlib import Path, PurePath

import numpy as np

from mestad_d2.data.ava import first_timestamp, folder_rate
from mestad_d2.data.per_video import Setting
from mestad_d2.errors import UserError
from mestad_d2.video.folder import FOLDER_FPS
from mestad_d2.video.frame_list import split_listed
from mestad_d2.video.frames import probe, read_frames
from mestad_d2.video.video_locations import find_video

logger = logging.getLogger(__name__)


class FrameLookup:
    """Frames of the videos, or folders of frames, below a folder; a name may have a folder or suffix too many.

    Args:
        root: folder of videos.
        start: timestamp of a file's first frame, in s, or a csv of them; None: AVA's rule.
        fps: frames per second of folders of frames, or a csv of them.

    Raises:
        UserError: no such folder.
    """

    def __init__(self, root: str | Path, start: Setting = 0.0, fps: Setting = FOLDER_FPS) -> None:
        if split_listed(str(root)) is None and not Path(root).is_dir():
            raise UserError(f"{root}: no such folder of videos; give the folder that has the files")
        self._root, self._start, self._fps = str(root), start, fps

    def __call__(self, video: str, timestamp: float) -> np.ndarray | None:
        """Frame (H, W, 3) uint8 RGB at ``timestamp`` (s); None where there is none, or it can't be read."""
        path = self._find(video)
        if path is None:
            return None
        try:
            rate = folder_rate(path, video, self._fps)
            info = probe(path, rate)
            time = timestamp - first_timestamp(path, video, info, self._start)
            if time < 0 or (info.duration and time > info.duration + 0.5 / info.fps):
                return None
            return read_frames(path, [time], folder_fps=rate)[0]
        except UserError as error:
            logger.warning("no picture of %s at %g s: %s", video, timestamp, error)
            return None

    def _find(self, video: str) -> str | None:
        name = PurePath(video)
        for candidate in dict.fromkeys(
            (video, str(name.with_suffix("")) if name.name else "", name.name, name.stem)
        ):
            try:
                path = find_video(self._root, candidate)
            except UserError:
                continue
            if path is not None:
                return path
        return None
