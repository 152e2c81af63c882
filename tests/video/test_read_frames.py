"""The right frames come back, whatever the frame rate, start or order in the file."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import cv2
import numpy as np
import pytest
from numbered_video import numbered_frame, read_number, write_numbered_video

from mestad_d2.errors import UserError
from mestad_d2.video.frames import read_frames
from mestad_d2.video.pictures import shrink
from mestad_d2.video.reader import VideoReader
from mestad_d2.video.source import open_source


def nearest(times: list[float], wanted: float) -> set[int]:
    """Numbers of the frames nearest to ``wanted`` s: two where it lies in the middle."""
    distances = np.abs(np.array(times) - max(wanted, 0.0))
    return set(np.flatnonzero(distances <= distances.min() + 2e-3).tolist())


@pytest.mark.parametrize("rate", [Fraction(25), Fraction(30000, 1001), Fraction(30), Fraction(50)])
@pytest.mark.parametrize("options", [{"g": "12"}, {"g": "100", "bf": "2"}])
def test_nearest_frames_at_any_rate(tmp_path: Path, rate: Fraction, options: dict) -> None:
    times = write_numbered_video(tmp_path / "v.mp4", 200, rate, **options)
    rng = np.random.default_rng(0)
    for center in [0.0, times[-1], *rng.uniform(0, times[-1], 6)]:
        wanted = center + (np.arange(8) - 4) * 4 / 30
        frames = read_frames(str(tmp_path / "v.mp4"), wanted)
        for frame, time in zip(frames, wanted, strict=True):
            assert read_number(frame) in nearest(times, time)


def test_variable_rate_and_late_start(tmp_path: Path) -> None:
    rng = np.random.default_rng(1)
    own = (1.7 + np.cumsum(rng.choice([0.02, 0.033, 0.1], 150))).round(3).tolist()
    times = write_numbered_video(tmp_path / "v.mkv", 150, Fraction(30), times=own, g="20")
    wanted = rng.uniform(0, times[-1], 40)
    for frame, time in zip(read_frames(str(tmp_path / "v.mkv"), wanted), wanted, strict=True):
        assert read_number(frame) in nearest(times, time)


def test_times_in_any_order_and_outside_the_video(tmp_path: Path) -> None:
    write_numbered_video(tmp_path / "v.mp4", 50, Fraction(25))
    frames = read_frames(str(tmp_path / "v.mp4"), [1.0, -5.0, 99.0, 0.4, 1.0])
    assert [read_number(frame) for frame in frames] == [25, 0, 49, 10, 25]


def test_one_frame_video(tmp_path: Path) -> None:
    write_numbered_video(tmp_path / "v.mp4", 1, Fraction(25))
    assert [read_number(f) for f in read_frames(str(tmp_path / "v.mp4"), [-1, 0, 1])] == [0, 0, 0]


@pytest.mark.parametrize("pattern", ["clip_%06d.jpg", "img_%05d.jpg"])
def test_folders_of_frames(tmp_path: Path, pattern: str) -> None:
    folder = tmp_path / "clip"
    folder.mkdir()
    for index in range(60):
        cv2.imwrite(str(folder / (pattern % (index + 1))), numbered_frame(index))
    frames = read_frames(str(folder), [0.0, 1.0, 50.0])
    assert [read_number(frame) for frame in frames] == [0, 30, 59]
    assert open_source(str(folder)).duration == pytest.approx(2.0)


def test_probe_and_shrink(tmp_path: Path) -> None:
    write_numbered_video(tmp_path / "v.mp4", 50, Fraction(25))
    info = open_source(str(tmp_path / "v.mp4"))
    assert (info.height, info.width, info.fps) == (64, 160, 25.0)
    assert info.duration == pytest.approx(2.0, abs=0.05)
    small = read_frames(str(tmp_path / "v.mp4"), [0.2], short_side=32)
    assert small.shape == (1, 32, 80, 3) and read_number(small[0]) == 5
    assert shrink(np.zeros((20, 30, 3), np.uint8), 40).shape == (20, 30, 3)


@pytest.mark.parametrize("content", [b"", b"not a video at all" * 50])
def test_no_video_is_one_line(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "v.mp4"
    path.write_bytes(content)
    with pytest.raises(UserError, match="v.mp4") as error:
        read_frames(str(path), [0.0])
    assert "\n" not in str(error.value)


def test_truncated_video_gives_frames_or_an_error_that_names_it(tmp_path: Path) -> None:
    write_numbered_video(tmp_path / "v.mkv", 100, Fraction(25), g="10")
    whole = (tmp_path / "v.mkv").read_bytes()
    (tmp_path / "cut.mkv").write_bytes(whole[: len(whole) // 2])
    frames = read_frames(str(tmp_path / "cut.mkv"), [0.2, 3.6])
    # Beyond the damage the last good frame is shown.
    assert read_number(frames[0]) == 5 and 5 < read_number(frames[1]) < 99


class _Container:
    """A container whose generators of packets count as open until they end or are closed."""

    def __init__(self, container) -> None:
        self._container, self.open = container, 0

    def __getattr__(self, name: str):
        return getattr(self._container, name)

    def demux(self, stream) -> _Packets:
        self.open += 1
        return _Packets(self, self._container.demux(stream))


class _Packets:
    def __init__(self, owner: _Container, packets) -> None:
        self._owner, self._packets = owner, packets

    def __iter__(self) -> _Packets:
        return self

    def __next__(self):
        try:
            return next(self._packets)
        except StopIteration:
            self.close()
            raise

    def close(self) -> None:
        self._packets.close()
        if self._owner:
            self._owner.open -= 1
        self._owner = None


@pytest.mark.parametrize("name", ["film.mp4", "film.avi"])
def test_no_generator_of_packets_is_left_open(tmp_path: Path, name: str) -> None:
    """PyAV loses memory with each: 0.1 MB a clip of a 720p film."""
    path = tmp_path / name
    write_numbered_video(path, 60, Fraction(10))
    reader = VideoReader(str(path))
    reader.container = _Container(reader.container)
    for first in (0.0, 2.0, 5.5):
        assert [read_number(image) for image in reader.read([first, first + 0.2])] == [
            10 * first,
            10 * first + 2,
        ]
        assert reader.container.open == 0
