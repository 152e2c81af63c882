"""Write one picture file, whole or not at all."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np

from mestad_d2.errors import UserError
from mestad_d2.formats.files import write_bytes


def write_picture(path: str | os.PathLike[str], image: np.ndarray, options: Sequence[int] = ()) -> None:
    """Write an RGB picture in the format that the file's suffix names.

    Args:
        path: of the file; folders above are made.
        image: (H, W, 3) uint8 RGB.
        options: OpenCV's flags and values for the format.

    Raises:
        UserError: the place can't be written to, the disk is full, or OpenCV can't encode the format.
    """
    # OpenCV's own writer returns False for a full disk and leaves a cut file.
    done, content = cv2.imencode(Path(path).suffix, cv2.cvtColor(image, cv2.COLOR_RGB2BGR), list(options))
    if not done:
        raise UserError(f"{path}: OpenCV can't write this picture; choose .png or .jpg")
    write_bytes(path, content.tobytes())
