"""Videos with all that can be wrong with them, made on the spot."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from numbered_video import write_numbered_video


def encode(path: Path, frames: int, size: tuple[int, int], codec: str, pix_fmt: str) -> None:
    """Noise of ``size`` (height, width)."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=25)
        stream.height, stream.width = size
        stream.pix_fmt = pix_fmt
        rng = np.random.default_rng(0)
        for _ in range(frames):
            picture = rng.integers(0, 256, (*size, 3), dtype=np.uint8)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        container.mux(stream.encode(None))


def _sound_only(path: Path) -> None:
    with av.open(str(path), "w", format="mp4") as container:
        stream = container.add_stream("aac", rate=16000)
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), format="fltp", layout="mono")
        frame.sample_rate = 16000
        container.mux(stream.encode(frame))
        container.mux(stream.encode(None))


def _start_before_zero(path: Path) -> None:
    """40 frames whose first has the time stamp -0.8 s."""
    with av.open(str(path), "w", options={"avoid_negative_ts": "disabled"}) as container:
        stream = container.add_stream("mpeg4", rate=25)
        stream.height, stream.width, stream.pix_fmt = 64, 64, "yuv420p"
        for index in range(40):
            frame = av.VideoFrame.from_ndarray(np.zeros((64, 64, 3), np.uint8), format="rgb24")
            frame.pts, frame.time_base = index, Fraction(1, 25)
            for packet in stream.encode(frame):
                packet.pts, packet.dts = packet.pts - 20, packet.dts - 20
                container.mux(packet)
    with av.open(str(path)) as container:
        assert container.streams.video[0].start_time < 0


def _change_duration(path: Path, factor: float) -> None:
    """Multiply the durations in an mp4's movie, track and media headers (version 0)."""
    content = bytearray(path.read_bytes())
    for name, offset in ((b"mvhd", 20), (b"mdhd", 20), (b"tkhd", 24)):
        place = content.index(name) + offset
        old = int.from_bytes(content[place : place + 4], "big")
        content[place : place + 4] = int(old * factor).to_bytes(4, "big")
    path.write_bytes(content)


def corpus(folder: Path) -> Iterator[tuple[str, Path, bool | None]]:
    """(kind, path, outcome): True where a clip must come, False where an error must, None for either."""
    good = folder / "good.mp4"
    write_numbered_video(good, 50, Fraction(25), codec="libx264", g="10")
    whole = good.read_bytes()

    def made(name: str, make: Callable[[Path], object]) -> Path:
        path = folder / name
        make(path)
        return path

    for share in (10, 50, 90, 99):
        path = folder / f"cut{share}.mp4"
        path.write_bytes(whole[: len(whole) * share // 100])
        yield "truncated mp4", path, None
    matroska = folder / "whole.mkv"
    write_numbered_video(matroska, 200, Fraction(25), codec="libx264", g="10")
    yield "truncated mkv", made("cut.mkv", lambda p: p.write_bytes(matroska.read_bytes()[:6000])), None
    yield "zero bytes", made("empty.mp4", lambda p: p.write_bytes(b"")), False
    yield "text", made("text.mp4", lambda p: p.write_text("no video")), False
    yield "no video stream", made("sound.mp4", _sound_only), False
    yield "wrong extension", made("really_mp4.avi", lambda p: p.write_bytes(whole)), True
    times = np.cumsum(np.random.default_rng(0).choice([0.02, 0.04, 0.4], 40)).tolist()
    variable = folder / "variable.mkv"
    write_numbered_video(variable, 40, Fraction(25), times=times, codec="libx264")
    yield "variable frame rate", variable, True
    for factor in (0.1, 40.0):
        path = made(f"duration{factor}.mp4", lambda p: p.write_bytes(whole))
        _change_duration(path, factor)
        yield "wrong container duration", path, None
    for name in ("early.mkv", "early.ts"):
        _start_before_zero(folder / name)
        yield "negative start time", folder / name, True
    for size in ((63, 101), (17, 33)):
        yield "odd size", made(f"odd{size[0]}.mkv", lambda p: encode(p, 10, size, "ffv1", "yuv444p")), True  # noqa: B023
    yield "1 frame", made("one.mp4", lambda p: encode(p, 1, (64, 64), "libx264", "yuv420p")), True
    yield "4:2:2", made("422.mp4", lambda p: encode(p, 10, (64, 64), "libx264", "yuv422p")), True
    yield "10 bit", made("10bit.mkv", lambda p: encode(p, 10, (64, 64), "ffv1", "yuv420p10le")), True
    yield "4:2:2, 10 bit", made("422_10.mkv", lambda p: encode(p, 10, (64, 64), "ffv1", "yuv422p10le")), True
    yield "replaced by a folder", made("folder.mp4", lambda p: p.mkdir()), False
    yield "missing", folder / "missing.mp4", False


def replace_by_folder(path: Path) -> None:
    """What a careless extraction does."""
    path.unlink()
    path.mkdir()


def remove(path: Path) -> None:
    """What a clean-up of a shared disk does."""
    shutil.rmtree(path) if path.is_dir() else path.unlink()
