"""Extract videos to folders of evenly spaced frames, in PySlowFast's or mmaction2's naming."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from itertools import count
from pathlib import Path

import cv2
import numpy as np

from mestad_d2.errors import UserError
from mestad_d2.formats.files import not_written
from mestad_d2.video.output.picture_file import write_picture
from mestad_d2.video.stream import iterate_frames

NAMINGS = {"pyslowfast": "{video}_{number:06d}", "mmaction2": "img_{number:05d}"}
JPEG_QUALITY = 95


def extract_frames(
    video: Path, folder: Path, fps: float, naming: str = "pyslowfast", suffix: str = ".jpg"
) -> int:
    """Write frames ``fps`` a second, numbered from 1, each the nearest to its time.

    Args:
        video: file to read.
        folder: new folder of the pictures.
        fps: frames per second; a video's own average rate gives each of its frames once.
        naming: key of ``NAMINGS``.
        suffix: ``.jpg`` (quality 95), or ``.png`` without loss.

    Returns:
        number of pictures.

    Raises:
        UserError: the video can't be read, the folder is there already, or the disk is full. The folder is
            not there then: it gets its name when the last picture is written.
    """
    if folder.exists():
        raise UserError(f"{folder}: is there already; remove it or choose another --output")
    part = folder.with_name(f".{folder.name}.part{os.getpid()}")
    shutil.rmtree(part, ignore_errors=True)
    try:
        number = _write(video, part, folder.name, fps, naming, suffix)
        part.rename(folder)
    except OSError as error:
        raise UserError(not_written(folder, error)) from error
    finally:
        shutil.rmtree(part, ignore_errors=True)
    return number


def _write(video: Path, folder: Path, name: str, fps: float, naming: str, suffix: str) -> int:
    folder.mkdir(parents=True)
    options = [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY] if suffix == ".jpg" else []
    number = 0
    for number, image in enumerate(_evenly(video, fps), start=1):
        write_picture(folder / (NAMINGS[naming].format(video=name, number=number) + suffix), image, options)
    return number


def _evenly(video: Path, fps: float) -> Iterator[np.ndarray]:
    """The frame nearest to 0, 1 / fps, 2 / fps, ... s, up to half a step after the last one."""
    times = (index / fps for index in count())
    wanted, before = next(times), None
    for frame in iterate_frames(video):
        # Half way between two frames the earlier one is taken, as in reading clips.
        while before is not None and wanted <= (before.time + frame.time) / 2 + 1e-6:
            yield before.image
            wanted = next(times)
        before = frame
    while before is not None and wanted <= before.time + 0.5 / fps:
        yield before.image
        wanted = next(times)
