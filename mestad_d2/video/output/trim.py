"""Trim a video: AVA's cut films take a twentieth of the space."""

from __future__ import annotations

import os
from fractions import Fraction
from pathlib import Path

import av

from mestad_d2.errors import UserError
from mestad_d2.video.decode.colors import tag_as_bt709, to_bt709
from mestad_d2.video.pictures import shrunk_size
from mestad_d2.video.reader import VideoReader

TICK = Fraction(1, 90000)


def cut_video(source: Path, target: Path, start: float, end: float, short_side: int | None = None) -> int:
    """Encode the frames of ``source`` from ``start`` to ``end`` (s) as h264 in BT.709, with their own times.

    The first frame of ``target`` is the one nearest to ``start``, so that its second s is the film's
    ``start`` + s to half a frame. The target gets its name when it is complete.

    Args:
        short_side: shrink to this, in pixels; width and height are made even.

    Returns:
        number of frames written.

    Raises:
        UserError: the film is unreadable or ends before ``start``.
    """
    reader = VideoReader(str(source))
    part = target.with_name(target.stem + ".part.mp4")
    height, width = (side // 2 * 2 for side in shrunk_size(*reader.size, short_side))
    half, written = 0.5 / reader.fps, 0
    try:
        with av.open(os.path.abspath(part), "w") as container:
            options = {"preset": "fast", "crf": "20", "g": "60"}
            rate = Fraction(reader.fps).limit_denominator(1001)
            stream = container.add_stream("libx264", rate=rate, options=options)
            stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
            stream.codec_context.time_base = TICK
            tag_as_bt709(stream)
            for time, frame in reader.frames_from(start):
                if time < start - half:
                    continue
                if time > end:
                    break
                # As clips are read: upright, in square pixels, SDR.
                picture = av.VideoFrame.from_ndarray(reader.make_picture(frame, short_side), format="rgb24")
                small = to_bt709(picture, width, height)
                if not written:
                    first = time
                small.pts, small.time_base = round((time - first) / TICK), TICK
                container.mux(stream.encode(small))
                written += 1
            container.mux(stream.encode(None))
    except av.FFmpegError as error:
        part.unlink(missing_ok=True)
        raise UserError(f"{source}: can't be cut ({error}); fetch it anew") from error
    finally:
        reader.close()
    if not written:
        part.unlink(missing_ok=True)
        raise UserError(f"{source}: ends before second {start:g}; is it a film?")
    part.rename(target)
    return written
