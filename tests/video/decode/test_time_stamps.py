"""Wrong time stamps: both ways of reading give the same frames, all of them, in the order they were filmed."""

from __future__ import annotations

import logging
import struct
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from numbered_video import read_number, write_numbered_video

from mestad_d2.video.frames import read_frames
from mestad_d2.video.source import open_source
from mestad_d2.video.stream import iterate_frames


def both_ways(path: Path) -> tuple[list[float], list[int]]:
    """Times and numbers of a video's frames in order; random access, one time at a time, gives the same."""
    source = open_source(path)
    frames = [(frame.time, read_number(frame.image)) for frame in iterate_frames(source)]
    for time, number in frames[:: max(len(frames) // 20, 1)]:
        assert read_number(read_frames(source, [time])[0]) == number
    assert [read_number(image) for image in read_frames(source, [time for time, _ in frames])] == [
        number for _, number in frames
    ]
    return [time for time, _ in frames], [number for _, number in frames]


@pytest.mark.parametrize(
    ("suffix", "codec", "reordered"),
    [(".ts", "libx264", 2), (".mpg", "mpeg2video", 2), (".m2ts", "libx264", 0), (".mkv", "libx264", 2)],
)
def test_recordings_joined_by_cat(
    tmp_path: Path, suffix: str, codec: str, reordered: int, caplog: pytest.LogCaptureFixture
) -> None:
    parts = [tmp_path / f"{name}{suffix}" for name in "ab"]
    for part, frames in zip(parts, (50, 40), strict=True):
        write_numbered_video(part, frames, Fraction(25), codec=codec, g="25", bf=str(reordered))
    joined = tmp_path / f"joined{suffix}"
    joined.write_bytes(b"".join(part.read_bytes() for part in parts))
    with caplog.at_level(logging.WARNING):
        times, numbers = both_ways(joined)
    assert numbers == [*range(50), *range(40)]
    assert times == pytest.approx(np.arange(90) / 25, abs=2e-3)
    assert "time stamps are wrong from" in caplog.text
    if suffix != ".mkv":
        # The header of a matroska file is that of its first part.
        assert open_source(joined).duration == pytest.approx(3.6, abs=1e-3)
        assert open_source(joined).frame_times() == pytest.approx(np.arange(90) / 25, abs=2e-3)


def remuxed(source: Path, target: Path, wrong: dict[int, float]) -> None:
    """Copy the packets of a video; those in ``wrong`` are shown so many seconds later."""
    with av.open(str(source)) as before, av.open(str(target), "w") as after:
        stream = after.add_stream_from_template(before.streams.video[0])
        for number, packet in enumerate(p for p in before.demux(video=0) if p.dts is not None):
            packet.pts += round(wrong.get(number, 0.0) / packet.time_base)
            packet.stream = stream
            after.mux(packet)


@pytest.mark.parametrize("suffix", [".mp4", ".ts", ".mkv"])
@pytest.mark.parametrize("wrong", [{30: 20.0}, {30: 7.0, 60: 3000.0}])
def test_single_stamps_that_jump(tmp_path: Path, suffix: str, wrong: dict[int, float]) -> None:
    write_numbered_video(tmp_path / "v.mp4", 100, Fraction(25), codec="libx264", g="25", bf="0")
    remuxed(tmp_path / "v.mp4", tmp_path / f"wrong{suffix}", wrong)
    times, numbers = both_ways(tmp_path / f"wrong{suffix}")
    assert numbers == list(range(100))
    assert times == pytest.approx(np.arange(100) / 25, abs=2e-3)


@pytest.mark.parametrize("suffix", [".mp4", ".mkv"])
def test_pauses_stay(tmp_path: Path, suffix: str) -> None:
    """A recording that runs only while something moves, its frames reordered around the pauses."""
    known = np.cumsum([0.04] * 50 + [58.0] + [0.04] * 20 + [3.0] + [0.04] * 20 + [0.5, 0.5, 0.5, 600.0, 0.04])
    path = tmp_path / f"v{suffix}"
    write_numbered_video(
        path, len(known), Fraction(25), times=known.round(3).tolist(), codec="libx264", g="90", bf="3"
    )
    times, numbers = both_ways(path)
    assert numbers == list(range(len(known))) and times == pytest.approx(known - known[0], abs=2e-3)
    assert open_source(path).frame_times() == pytest.approx(times, abs=2e-3)


@pytest.mark.parametrize(("codec", "reordered"), [("libx264", "3"), ("mpeg4", "2"), ("mpeg2video", "2")])
def test_reordered_frames_in_avi(tmp_path: Path, codec: str, reordered: str) -> None:
    write_numbered_video(tmp_path / "v.avi", 75, Fraction(25), codec=codec, g="25", bf=reordered)
    times, numbers = both_ways(tmp_path / "v.avi")
    assert numbers == list(range(75)) and times == pytest.approx(np.arange(75) / 25)


@pytest.mark.parametrize("suffix", [".h264", ".hevc"])
def test_raw_streams_are_read_by_counting(tmp_path: Path, suffix: str) -> None:
    codec = {".h264": "libx264", ".hevc": "libx265"}[suffix]
    options = {"x265-params": "log-level=none"} if codec == "libx265" else {"bf": "2"}
    write_numbered_video(tmp_path / f"v{suffix}", 50, Fraction(25), codec=codec, g="25", **options)
    assert both_ways(tmp_path / f"v{suffix}")[1] == list(range(50))


def test_packets_that_cannot_be_decoded(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    write_numbered_video(tmp_path / "v.mp4", 100, Fraction(25), codec="libx264", g="25", bf="0")
    with av.open(str(tmp_path / "v.mp4")) as file:
        packets = [p for p in file.demux(video=0) if p.dts is not None]
    data = bytearray((tmp_path / "v.mp4").read_bytes())
    for packet in packets[60:63]:
        data[packet.pos + 4 : packet.pos + packet.size] = b"\xff" * (packet.size - 4)
    (tmp_path / "v.mp4").write_bytes(data)
    with caplog.at_level(logging.WARNING):
        times, numbers = both_ways(tmp_path / "v.mp4")
    # What refers to the lost frames looks alike in both ways; what comes after the next key frame is whole.
    assert numbers[:60] == list(range(60)) and numbers[-25:] == list(range(75, 100)) and times[-1] == 3.96
    assert "v.mp4: damaged near 2." in caplog.text


def with_edits(path: Path, edits: list[tuple[float, float]]) -> None:
    """Give an mp4 an edit list: (seconds shown, second of the recording at which they begin)."""
    data = bytearray(path.read_bytes())

    def find(*names: bytes) -> list[tuple[int, int]]:
        start, end, chain = 0, len(data), []
        for name in names:
            while data[start + 4 : start + 8] != name:
                start += struct.unpack_from(">I", data, start)[0]
                assert start < end
            chain.append((start, struct.unpack_from(">I", data, start)[0]))
            start, end = start + 8, start + chain[-1][1]
        return chain

    movie = struct.unpack_from(">I", data, find(b"moov", b"mvhd")[-1][0] + 20)[0]
    media = struct.unpack_from(">I", data, find(b"moov", b"trak", b"mdia", b"mdhd")[-1][0] + 20)[0]
    rows = b"".join(struct.pack(">IiI", round(d * movie), round(m * media), 0x10000) for d, m in edits)
    box = struct.pack(">I4sI4sII", 24 + len(rows), b"edts", 16 + len(rows), b"elst", 0, len(edits)) + rows
    *parents, (start, size) = find(b"moov", b"trak", b"edts")
    for parent, length in parents:
        struct.pack_into(">I", data, parent, length + len(box) - size)
    data[start : start + size] = box
    path.write_bytes(data)


@pytest.mark.parametrize(
    ("edits", "numbers"),
    [
        ([(1, 0), (1, 2)], [*range(25), *range(50, 75)]),
        ([(1, 2), (1, 0)], [*range(50, 75), *range(25)]),
        ([(2, 1.52)], range(38, 88)),
    ],
)
def test_edit_lists_of_several_parts(tmp_path: Path, edits: list, numbers: list[int]) -> None:
    write_numbered_video(tmp_path / "v.mp4", 100, Fraction(25), codec="libx264", g="25", bf="0")
    with_edits(tmp_path / "v.mp4", edits)
    times, found = both_ways(tmp_path / "v.mp4")
    assert found == list(numbers) and times == pytest.approx(np.arange(50) / 25, abs=2e-3)
