"""Videos whose frames carry their own number, so that a test can tell which frame it was given."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import av
import numpy as np

BITS, CELL = 10, 16


def numbered_frame(index: int, height: int = 64, width: int = 160) -> np.ndarray:
    """A frame with ``index`` in binary: one bright or dark cell of ``CELL`` pixels a bit."""
    frame = np.full((height, width, 3), 40, np.uint8)
    for bit in range(BITS):
        frame[:, bit * CELL : (bit + 1) * CELL] = 230 if index >> bit & 1 else 20
    return frame


def read_number(frame: np.ndarray) -> int:
    """The number in a frame of any size that shows a whole ``numbered_frame``."""
    columns = frame.astype(float).mean(axis=(0, 2))
    cells = np.array_split(columns, BITS)
    return sum(
        1 << bit for bit, cell in enumerate(cells) if cell[len(cell) // 4 : -len(cell) // 4].mean() > 120
    )


def write_numbered_video(
    path: Path,
    frames: int,
    rate: Fraction,
    *,
    times: list[float] | None = None,
    codec: str = "mpeg4",
    **options: str,
) -> list[float]:
    """Write a video; returns the time of every frame, in s from the first.

    ``times`` gives every frame a time of its own (variable frame rate, or a late start).
    """
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=rate, options=options)
        stream.width, stream.height, stream.pix_fmt = BITS * CELL, 64, "yuv420p"
        stream.codec_context.time_base = Fraction(1, 1000) if times else 1 / rate
        for index in range(frames):
            frame = av.VideoFrame.from_ndarray(numbered_frame(index), format="rgb24")
            frame.time_base = stream.codec_context.time_base
            frame.pts = round(times[index] * 1000) if times else index
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    shown = times or [float(index / rate) for index in range(frames)]
    return [time - shown[0] for time in shown]


def write_index_first(source: Path, target: Path) -> None:
    """Copy a video's packets into a file with its index first, as of videos that are meant to be downloaded."""
    with (
        av.open(str(source)) as read,
        av.open(str(target), "w", options={"movflags": "faststart"}) as written,
    ):
        stream = written.add_stream_from_template(read.streams.video[0])
        for packet in read.demux(video=0):
            if packet.dts is not None:
                packet.stream = stream
                written.mux(packet)
