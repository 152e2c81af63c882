"""Two files joined by ``cat``: all frames, or one warning."""

from __future__ import annotations

import logging
from fractions import Fraction
from pathlib import Path

import av
import pytest
from numbered_video import numbered_frame, read_number

from mestad_d2.video.decode.joined import following_recording
from mestad_d2.video.frames import read_frames
from mestad_d2.video.source import open_source
from mestad_d2.video.stream import iterate_frames


def write(path: Path, numbers: range, codec: str) -> bytes:
    """A file of numbered frames, 25 a second."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=25, options={"g": "12"})
        stream.width, stream.height, stream.pix_fmt = 160, 64, "yuv420p"
        for place, number in enumerate(numbers):
            frame = av.VideoFrame.from_ndarray(numbered_frame(number), format="rgb24")
            frame.pts, frame.time_base = place, Fraction(1, 25)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path.read_bytes()


@pytest.mark.parametrize(
    ("suffix", "codec"),
    [("mp4", "libx264"), ("mov", "mpeg4"), ("3gp", "mpeg4"), ("wmv", "wmv2"), ("flv", "flv"), ("nut", "mpeg4"),
     ("mxf", "mpeg2video")],
)  # fmt: skip
def test_what_ffmpeg_leaves_out_is_told_once(tmp_path: Path, caplog, suffix: str, codec: str) -> None:
    first = write(tmp_path / f"first.{suffix}", range(30), codec)
    path = tmp_path / f"joined.{suffix}"
    path.write_bytes(first + write(tmp_path / f"second.{suffix}", range(30, 60), codec))
    with caplog.at_level(logging.WARNING):
        open_source(tmp_path / f"first.{suffix}")
        assert not caplog.records
        for _ in range(2):
            source = open_source(path)
    assert len(caplog.records) == 1
    assert f"another recording follows at byte {len(first)} and is not read" in caplog.text
    assert read_number(read_frames(source, [0.4])[0]) == 10


@pytest.mark.parametrize("codec", ["libx264", "mpeg4"])
def test_joined_avi_files_are_read_whole(tmp_path: Path, codec: str) -> None:
    path = tmp_path / "joined.avi"
    parts = [write(tmp_path / f"{i}.avi", range(50 * i, 50 * i + 50), codec) for i in range(2)]
    path.write_bytes(b"".join(parts))
    assert following_recording(path, "avi") == len(parts[0])
    assert following_recording(tmp_path / "0.avi", "avi") is None
    source = open_source(path)
    found = [(round(frame.time, 2), read_number(frame.image)) for frame in iterate_frames(source)]
    assert found == [(round(n / 25, 2), n) for n in range(100)]
    wanted = [0.48, 1.52, 1.92, 2.52, 3.52, 3.96]
    for time in wanted:
        assert read_number(read_frames(source, [time])[0]) == round(time * 25)
    assert [read_number(picture) for picture in read_frames(source, wanted)] == [
        round(t * 25) for t in wanted
    ]


def test_no_file_is_read_past_its_end_or_for_long(tmp_path: Path) -> None:
    for content in (
        b"",
        b"\0" * 40,
        b"RIFF\xff\xff\xff\xffAVI ",
        b"\0\0\0\1moov" + b"\xff" * 8,
        b"FLV\1filesize\0",
        b"FLV\1filesize\0" + b"\x7f\xf0" + b"\0" * 6,
    ):
        (tmp_path / "x").write_bytes(content)
        for kind in ("mov,mp4", "asf", "avi", "flv", "nut", "mxf", "matroska"):
            assert following_recording(tmp_path / "x", kind) is None
    assert following_recording(tmp_path / "absent", "avi") is None
