"""The right frames out of every container and codec, with frames stored out of order, against their pixels."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from numbered_video import read_number, write_numbered_video

from mestad_d2.errors import UserError
from mestad_d2.video.clips import nearest_indices
from mestad_d2.video.frames import read_frames
from mestad_d2.video.pictures import PictureMaker
from mestad_d2.video.reader import VideoReader
from mestad_d2.video.source import open_source

OPEN_GOP = {"g": "30", "bf": "3", "x264-params": "open-gop=1:scenecut=0"}
FORMATS = [
    ("v.mp4", "libx264", {"g": "60", "bf": "3"}),
    ("v.mp4", "libx264", OPEN_GOP),
    ("v.mkv", "libx264", OPEN_GOP),
    ("v.ts", "libx264", {"g": "40", "bf": "2"}),
    ("v.avi", "libx264", {"g": "24", "bf": "2"}),
    ("v.avi", "mpeg4", {"g": "24", "bf": "2"}),
    ("v.mp4", "libx265", {"g": "40", "bf": "3", "x265-params": "log-level=none"}),
    ("v.webm", "libvpx-vp9", {"g": "60", "deadline": "realtime", "cpu-used": "8"}),
]


VARIABLE = [(*f, True) for f in FORMATS if f[0].endswith(("mkv", "webm"))]


@pytest.mark.parametrize(("name", "codec", "options", "own_times"), [(*f, False) for f in FORMATS] + VARIABLE)
def test_nearest_frames(tmp_path: Path, name: str, codec: str, options: dict, own_times: bool) -> None:
    if codec not in av.codecs_available:
        pytest.skip(f"this build of ffmpeg has no {codec}")
    rng = np.random.default_rng(0)
    own = (
        (3.3 + np.cumsum(rng.choice([0.02, 0.033, 0.1, 0.5], 200, p=[0.4, 0.4, 0.18, 0.02])))
        .round(3)
        .tolist()
    )
    path = tmp_path / name
    times = np.array(
        write_numbered_video(
            path, 200, Fraction(30000, 1001), times=own if own_times else None, codec=codec, **options
        )
    )
    for center in [0.0, 0.01, times[-1] - 0.05, *rng.uniform(-0.5, times[-1] + 0.5, 12)]:
        wanted = center + (np.arange(8) - 4) * 4 / 30
        for frame, time in zip(read_frames(str(path), wanted), wanted, strict=True):
            distances = np.abs(times - max(time, 0.0))
            # mkv and webm round to ms, so two frames may be equally near.
            assert distances[read_number(frame)] <= distances.min() + 2e-3


def test_both_ways_of_reading_agree(tmp_path: Path) -> None:
    write_numbered_video(tmp_path / "v.mp4", 150, Fraction(25), codec="libx264", g="50", bf="3")
    reader = VideoReader(str(tmp_path / "v.mp4"))
    for start in np.random.default_rng(0).uniform(0, 5.9, 10):
        times = (start + np.arange(6) * 0.11).tolist()
        quick, slow = reader.read(times), reader._read_all(times, None)
        np.testing.assert_array_equal(np.stack(quick), np.stack(slow))


def test_few_frames_are_decoded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_numbered_video(tmp_path / "v.mp4", 250, Fraction(25), codec="libx264", g="250", bf="0")
    reader = VideoReader(str(tmp_path / "v.mp4"))
    packets = reader._packets(4.0, 4.2)
    assert len(packets) <= 108
    made: list[int] = []
    make = PictureMaker.__call__
    monkeypatch.setattr(
        PictureMaker,
        "__call__",
        lambda self, frame, side: made.append(frame.pts) or make(self, frame, side),
    )
    reader.read([4.0, 4.2])
    assert len(made) == 2


def test_a_file_that_ends_early_is_named(tmp_path: Path) -> None:
    path = tmp_path / "v.mkv"
    write_numbered_video(path, 500, Fraction(25), codec="libx264", g="25")
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(UserError) as error:
        for _ in range(2):
            read_frames(str(path), [18.0, 18.5])
    assert str(path) in str(error.value) and "\n" not in str(error.value)


def test_rotation_is_applied(tmp_path: Path) -> None:
    path = tmp_path / "v.mov"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=25)
        stream.width, stream.height, stream.pix_fmt = 64, 32, "yuv420p"
        picture = np.full((32, 64, 3), 30, np.uint8)
        picture[:, :20] = 220
        for _ in range(5):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        container.mux(stream.encode(None))
    # The film's own matrix comes first, then the track's.
    before, matrix, after = path.read_bytes().rpartition(IDENTITY)
    assert matrix
    path.write_bytes(before + QUARTER_TURN + after)
    info = open_source(str(path))
    assert (info.height, info.width) == (64, 32)
    frame = read_frames(str(path), [0.1])[0]
    # Displayed a quarter turn clockwise: what was left is now on top.
    assert frame.shape == (64, 32, 3) and frame[:16].mean() > 180 and frame[24:].mean() < 60


# The 3 x 3 matrix of a mov track header: 16.16 fixed point, the last column 2.30.
IDENTITY = b"".join(v.to_bytes(4, "big", signed=True) for v in (65536, 0, 0, 0, 65536, 0, 0, 0, 2**30))
QUARTER_TURN = b"".join(v.to_bytes(4, "big", signed=True) for v in (0, 65536, 0, -65536, 0, 0, 0, 0, 2**30))


def test_nearest_index_by_hand() -> None:
    stamps = np.array([0.0, 1.0, 4.0])
    assert nearest_indices(stamps, [-1, 0.4, 0.5, 0.6, 2.5, 2.6, 9]).tolist() == [0, 0, 0, 1, 1, 2, 2]
    assert nearest_indices(np.array([5.0]), [1, 5, 9]).tolist() == [0, 0, 0]


@pytest.mark.parametrize(("name", "codec"), [("v.mp4", "libx264"), ("v.mkv", "libx264"), ("v.avi", "mpeg4")])
def test_damage_raises_only_our_error(tmp_path: Path, name: str, codec: str) -> None:
    write_numbered_video(tmp_path / name, 60, Fraction(25), codec=codec, g="20", bf="2")
    whole, rng = (tmp_path / name).read_bytes(), np.random.default_rng(0)
    for index in range(40):
        damaged = bytearray(whole)
        for place in rng.integers(0, len(whole), rng.integers(1, 30)):
            damaged[place] = rng.integers(0, 256)
        path = tmp_path / f"{index}{name}"
        path.write_bytes(damaged[: rng.integers(0, len(whole))] if index % 3 == 0 else damaged)
        try:
            open_source(str(path))
            assert len(read_frames(str(path), rng.uniform(0, 2.5, 6))) == 6
        except UserError as error:
            assert "\n" not in str(error)
