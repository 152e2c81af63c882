"""Single frames by the names that csv files use, for pictures in reports."""

from __future__ import annotations

import logging
from pathlib import Path, PurePath

import numpy as np

from mestad_d2.data.per_video import Setting
from mestad_d2.data.video_sources import DatasetVideos
from mestad_d2.errors import UserError
from mestad_d2.video.folder import FOLDER_FPS
from mestad_d2.video.frame_list import FrameList, ListedVideo
from mestad_d2.video.frames import read_frames
from mestad_d2.video.video_locations import VideoRoot, find_video

logger = logging.getLogger(__name__)


class FrameLookup:
    """Frames of the videos below a folder; extra folders or suffixes in a name are ignored.

    Args:
        root: folder of videos or of folders of frames, or a frame list.
        start: timestamp of a file's first frame, in s, or a csv of them; None: AVA's rule.
        fps: frames per second of folders of frames, or a csv of them.

    Raises:
        UserError: no such folder.
    """

    def __init__(self, root: VideoRoot, start: Setting = 0.0, fps: Setting = FOLDER_FPS) -> None:
        if not isinstance(root, FrameList) and not Path(root).is_dir():
            raise UserError(f"{root}: no such folder of videos; give the folder that has the files")
        self._videos = DatasetVideos(root, start, fps)

    def __call__(self, video: str, timestamp: float) -> np.ndarray | None:
        """Return the frame (H, W, 3) uint8 RGB at ``timestamp`` (s); None where it is missing or unreadable."""
        place = self._find(video)
        if place is None:
            return None
        try:
            source = self._videos.describe(place, video)
            if not source.start <= timestamp <= source.end + 0.5 / source.fps:
                return None
            return read_frames(source, [timestamp - source.start])[0]
        except UserError as error:
            logger.warning("no picture of %s at %g s: %s", video, timestamp, error)
            return None

    def _find(self, video: str) -> str | ListedVideo | None:
        name = PurePath(video)
        for candidate in dict.fromkeys(
            (video, str(name.with_suffix("")) if name.name else "", name.name, name.stem)
        ):
            try:
                place = find_video(self._videos.root, candidate)
            except UserError:
                continue
            if place is not None:
                return place
        return None
