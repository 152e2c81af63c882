"""Folders of frames extracted from videos, named by number.

PySlowFast writes ``VIDEO/VIDEO_000001.jpg``, mmaction2 ``VIDEO/img_00001.jpg``; any name whose last number
counts the frames works. A frame list (``frame_list``) makes a folder of the pictures that it names.
"""

from __future__ import annotations

import os
import re
from collections import defaultdict
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path

import cv2
import numpy as np

from mestad_d2.errors import UserError
from mestad_d2.video.clips import nearest_indices
from mestad_d2.video.pictures import shrink

# Rate at which PySlowFast and mmaction2 extract AVA's frames.
FOLDER_FPS = 30.0
# Names of optical flow that denseflow and others write beside the pictures.
_NO_PICTURE = re.compile(r"flow|depth|disp|mask|thumb", flags=re.I)
FRAME_SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp", ".webp")


class FrameFolder:
    """The pictures of a folder; names that follow a rule are not kept, as a 15-minute video has 27,000.

    Args:
        folder: path of the folder.
        names: pictures in order, as paths below it; None: all that lie in it.

    Raises:
        UserError: no picture in the folder.
    """

    def __init__(self, folder: str, names: Sequence[str] | None = None) -> None:
        names = list(names or (path.name for path in list_frames(folder)))
        self._folder, self._count = folder, len(names)
        head, digits, tail = split_name(names[0])
        self._rule, self._first = (head, len(digits), tail), int(digits or 0)
        self._places: np.ndarray | None = None
        self._names: Sequence[str] | None = None
        # Nearly all folders: numbered one by one.
        if names == [self._by_rule(place) for place in range(len(names))]:
            return
        counts = [frame_number(Path(name)) for name in names]
        # Where numbers do not ascend, or can't be frame numbers, only the order counts.
        unclear = counts[-1] >= 2**31 or any(a >= b for a, b in pairwise(counts))
        numbers = np.arange(len(names)) if unclear else np.array(counts)
        self._first = int(numbers[0])
        if numbers[-1] - numbers[0] != len(names) - 1:
            self._places = (numbers - numbers[0]).astype(np.int32)
        if names != [self._by_rule(place) for place in self.places.tolist()]:
            self._names = names

    def __len__(self) -> int:
        return self._count

    @property
    def places(self) -> np.ndarray:
        """(n,) ascending from 0: frame number of each picture; missing pictures leave gaps."""
        return np.arange(self._count) if self._places is None else self._places

    def _by_rule(self, place: int) -> str:
        head, width, tail = self._rule
        return f"{head}{place + self._first:0{width}d}{tail}"

    def path(self, index: int) -> str:
        """Return the path of the ``index``-th picture."""
        name = self._names[index] if self._names is not None else self._by_rule(int(self.places[index]))
        return os.path.join(self._folder, name)

    def read(self, times: Sequence[float], fps: float, short_side: int | None = None) -> list[np.ndarray]:
        """Read the picture (H, W, 3) uint8 RGB nearest to each of ``times`` (s) at ``fps`` frames per second.

        Raises:
            UserError: a picture can't be read.
        """
        chosen = nearest_indices(self.places / fps, times).tolist()
        images = {index: shrink(read_picture(self.path(index)), short_side) for index in set(chosen)}
        return [images[index] for index in chosen]


def read_picture(path: str) -> np.ndarray:
    """Read a picture file to (H, W, 3) uint8 RGB.

    Raises:
        UserError: no picture that can be read.
    """
    image = cv2.imread(path, cv2.IMREAD_COLOR)
    if image is None:
        raise UserError(f"{path}: no picture that can be read; remove it or extract it anew")
    return cv2.cvtColor(image, cv2.COLOR_BGR2RGB)


def list_frames(folder: str | os.PathLike[str]) -> list[Path]:
    """List the pictures of a folder's sequence, in the order of their numbers.

    A sequence has one name but for its number. Of several, mmaction2's ``img_`` and PySlowFast's
    ``<folder>_`` count, then the only one that is no optical flow or depth; single pictures beside a sequence are
    left out, and so are hidden files.

    Raises:
        UserError: there is no picture, or it is not clear which sequence counts; names them.
    """
    sequences: dict[tuple[str, str], list[Path]] = defaultdict(list)
    for path in Path(folder).iterdir():
        if path.suffix.lower() in FRAME_SUFFIXES and not path.name.startswith("."):
            head, _, tail = split_name(path.name)
            sequences[(head, tail.lower())].append(path)
    if not sequences:
        raise UserError(f"{folder}: no frames ({', '.join(FRAME_SUFFIXES)}) in this folder")
    paths = _chosen(folder, sequences)
    return sorted(paths, key=lambda path: (frame_number(path), path.name))


def _chosen(folder: str | os.PathLike[str], sequences: dict[tuple[str, str], list[Path]]) -> list[Path]:
    counted = {key: paths for key, paths in sequences.items() if len(paths) > 1}
    if not counted:
        # Names without numbers, or all of their own: they are one sequence.
        return [path for paths in sequences.values() for path in paths]
    for heads in (("img_",), (f"{Path(folder).name}_",)):
        known = [key for key in counted if key[0] in heads]
        if len(known) == 1:
            return counted[known[0]]
    pictures = [key for key in counted if not _NO_PICTURE.match(key[0])]
    if len(pictures) != 1:
        named = sorted(f"{head}*{tail} ({len(paths)})" for (head, tail), paths in counted.items())
        more = ", ..." if len(named) > 5 else ""
        raise UserError(
            f"{folder}: pictures of several sequences, {', '.join(named[:5])}{more}; leave one of them there, or "
            "name its pictures in a frame list"
        )
    return counted[pictures[0]]


def split_name(name: str) -> tuple[str, str, str]:
    """Split a name at its last number into the text before, the number, and the rest with the suffix."""
    return re.fullmatch(r"(.*?)(\d*)(\D*)", name, flags=re.S).groups()


def frame_number(path: Path) -> int:
    """Return the last number in a picture's name; 0 without one."""
    return int((re.findall(r"\d+", path.stem) or ["0"])[-1])
