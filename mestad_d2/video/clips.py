"""Which frames a clip has, and reading them."""

from __future__ import annotations

from collections import OrderedDict

import numpy as np

from mestad_d2.video.decoded import read_decoded
from mestad_d2.video.folder import FOLDER_FPS, is_folder
from mestad_d2.video.frames import read_frames


def clip_times(center: float, num_frames: int, sampling_rate: int, fps: float) -> np.ndarray:
    """Times (T,) of a clip's frames in s; index T // 2 is ``center``."""
    return center + (np.arange(num_frames) - num_frames // 2) * sampling_rate / fps


class ClipReader:
    """Reads the frames of clips, with a bounded memory of decoded ones."""

    def __init__(
        self,
        num_frames: int,
        sampling_rate: int,
        fps: float,
        still: bool,
        cache_mb: int,
        decoded_dir: str = "",
    ) -> None:
        self.num_frames, self.sampling_rate, self.fps = num_frames, sampling_rate, fps
        self.still, self.cache_bytes = still, cache_mb * 2**20
        self._cache: OrderedDict[tuple, np.ndarray] = OrderedDict()
        self._used = 0
        self.decoded_dir = decoded_dir

    def __call__(
        self, file_name: str, center: float, short_side: int | None, folder_fps: float = FOLDER_FPS
    ) -> np.ndarray:
        """Frames (T, H, W, 3) of the clip around ``center`` (s from the file's first frame).

        ``folder_fps`` is the rate of a folder of frames; video files know their own.
        """
        key = (file_name, round(center, 4), short_side, folder_fps)
        if key in self._cache:
            self._cache.move_to_end(key)
            return self._cache[key]
        times = clip_times(center, self.num_frames, self.sampling_rate, self.fps)
        times = np.full_like(times, center) if self.still else times
        if self.decoded_dir and not is_folder(file_name):
            return read_decoded(file_name, times, self.decoded_dir, short_side)
        frames = read_frames(file_name, times, short_side=short_side, folder_fps=folder_fps)
        if frames.nbytes <= self.cache_bytes:
            self._cache[key] = frames
            self._used += frames.nbytes
            while self._used > self.cache_bytes:
                self._used -= self._cache.popitem(last=False)[1].nbytes
        return frames
