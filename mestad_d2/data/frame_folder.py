"""Folders of frames that people extracted of their videos, named by number.

PySlowFast writes ``VIDEO/VIDEO_000001.jpg``, mmaction2 ``VIDEO/img_00001.jpg``; any name whose last number
counts the frames will do.
"""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path

import cv2
import numpy as np

from mestad_d2.data.frame_pictures import shrink
from mestad_d2.data.video_reader import nearest_indices
from mestad_d2.data.video_stream import frame_number, list_frames
from mestad_d2.errors import UserError

# What AVA's frames are extracted at, by PySlowFast and mmaction2 alike.
FOLDER_FPS = 30.0


class FrameFolder:
    """The pictures of a folder; a 15-minute video has 27,000, so names that follow a rule are not kept.

    Raises:
        UserError: no picture in the folder.
    """

    def __init__(self, folder: str) -> None:
        names = [path.name for path in list_frames(folder)]
        counts = [frame_number(Path(name)) for name in names]
        # Where a number comes twice, or can't be a count of frames, the order alone tells.
        unclear = counts[-1] >= 2**31 or len(set(counts)) < len(counts)
        numbers = np.arange(len(names)) if unclear else np.array(counts)
        self._folder, self._count, self._first = folder, len(names), int(numbers[0])
        complete = numbers[-1] - numbers[0] == len(names) - 1
        self._places = None if complete else (numbers - numbers[0]).astype(np.int32)
        head, digits, tail = re.fullmatch(r"(.*?)(\d*)(\D*)", names[0], flags=re.S).groups()
        self._rule = (head, len(digits), tail)
        self._names: list[str] | None = None
        if names != [self._by_rule(place) for place in self.places.tolist()]:
            self._names = names

    def __len__(self) -> int:
        return self._count

    @property
    def places(self) -> np.ndarray:
        """(n,) ascending from 0: the place in the video of each picture; where one is missing, a gap."""
        return np.arange(self._count) if self._places is None else self._places

    def _by_rule(self, place: int) -> str:
        head, width, tail = self._rule
        return f"{head}{place + self._first:0{width}d}{tail}"

    def path(self, index: int) -> str:
        """Path of the ``index``-th picture."""
        name = self._names[index] if self._names is not None else self._by_rule(int(self.places[index]))
        return os.path.join(self._folder, name)

    def read(self, times: Sequence[float], fps: float, short_side: int | None = None) -> list[np.ndarray]:
        """The picture (H, W, 3) uint8 RGB nearest to each of ``times`` (s); ``fps`` frames are a second.

        Raises:
            UserError: a picture can't be read.
        """
        chosen = nearest_indices(self.places / fps, times).tolist()
        images = {index: shrink(read_picture(self.path(index)), short_side) for index in set(chosen)}
        return [images[index] for index in chosen]


@lru_cache(maxsize=512)
def open_folder(folder: str) -> FrameFolder:
    """The folder, listed once in each process."""
    return FrameFolder(folder)


def read_picture(path: str) -> np.ndarray:
    """(H, W, 3) uint8 RGB of a picture file.

    Raises:
        UserError: no picture that can be read.
    """
    image = cv2.imread(path, cv2.IMREAD_COLOR)
    if image is None:
        raise UserError(f"{path}: no picture that can be read; remove it or extract it anew")
    return cv2.cvtColor(image, cv2.COLOR_BGR2RGB)
