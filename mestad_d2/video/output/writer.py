"""Write frames with their own times to an mp4."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from fractions import Fraction
from pathlib import Path

import av
import cv2
import numpy as np

from mestad_d2.formats.files import atomic_path
from mestad_d2.video.decode.colors import tag_as_bt709, to_bt709
from mestad_d2.video.output.sound import open_sound
from mestad_d2.video.source import VideoSource
from mestad_d2.video.stream import StreamFrame

# Half the time of x264's defaults at the same quality, for files a third larger.
X264 = {"preset": "veryfast", "crf": "20"}
# In s: mp4 holds the time that a frame is shown in 31 bits, which is 6.6 h at 90,000 ticks a second.
LONGEST_SHOWN = 3600.0


class VideoWriter:
    """Writes an mp4 that every player plays; use it as a context manager.

    In a pause of hours the last frame before it is repeated once an hour, since mp4 can't show one frame for longer.

    Args:
        path: of the mp4.
        fps: about how many frames a second come; their real times are kept.
        sound_of: a video whose sound is copied; None for no sound.
    """

    def __init__(self, path: Path, fps: float, sound_of: VideoSource | None = None) -> None:
        codec = "libx264" if "libx264" in av.codecs_available else "mpeg4"
        self._out = av.open(os.path.abspath(path), "w")
        options = X264 if codec == "libx264" else {}
        self._stream = self._out.add_stream(
            codec, rate=Fraction(fps).limit_denominator(1001), options=options
        )
        self._stream.pix_fmt = "yuv420p"
        self._stream.codec_context.time_base = Fraction(1, 90000)
        tag_as_bt709(self._stream)
        if codec == "mpeg4":
            # mpeg4 counts time in 16 bits.
            self._stream.codec_context.time_base = Fraction(1, 1000)
            self._stream.bit_rate = 4_000_000
        self._sound = open_sound(self._out, sound_of) if sound_of else None
        self._size: tuple[int, int] | None = None
        self._last: tuple[float, np.ndarray] | None = None

    def __enter__(self) -> VideoWriter:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def write(self, time: float, image: np.ndarray) -> None:
        """Add a frame (H, W, 3) uint8 RGB shown from ``time`` (s) on; all get the even size of the first."""
        if self._size is None:
            self._size = tuple(max(2, side // 2 * 2) for side in image.shape[:2])
            self._stream.height, self._stream.width = self._size
        if image.shape[:2] != self._size:
            image = cv2.resize(image, self._size[::-1], interpolation=cv2.INTER_AREA)
        while self._last is not None and time - self._last[0] > LONGEST_SHOWN:
            self._encode(self._last[0] + LONGEST_SHOWN, self._last[1])
        self._encode(time, image)

    def _encode(self, time: float, image: np.ndarray) -> None:
        self._last = time, image
        frame = to_bt709(av.VideoFrame.from_ndarray(image, format="rgb24"), *self._size[::-1])
        frame.time_base = self._stream.codec_context.time_base
        frame.pts = round(time / frame.time_base)
        self._out.mux(self._stream.encode(frame))
        if self._sound is not None:
            self._sound.write_until(time)

    def close(self) -> None:
        """Write what is held back and close the file."""
        if self._size is not None:
            self._out.mux(self._stream.encode(None))
        if self._sound is not None:
            self._sound.close()
        self._out.close()


def recorded(frames: Iterable[StreamFrame], writer: VideoWriter, seconds: float) -> Iterator[StreamFrame]:
    """Yield the frames of up to ``seconds`` and write each one as it passes: a camera can't be read twice."""
    for frame in frames:
        if frame.time > seconds:
            return
        writer.write(frame.time, frame.image)
        yield frame


@contextmanager
def recording_to(path: Path) -> Iterator[VideoWriter]:
    """Give a writer of a recording that appears under its name when it is closed; an earlier one stays until then."""
    with atomic_path(path, keep_suffix=True) as aside, VideoWriter(aside, 30.0) as writer:
        yield writer
