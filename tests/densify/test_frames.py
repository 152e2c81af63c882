"""Times of frames against videos whose times are known, and which frames get labels."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import cv2
import numpy as np
import pytest
from numbered_video import write_numbered_video

from mestad_d2.data.prepare.frame_times import frame_times
from mestad_d2.densify.detections.frames import dense_indices, nearest_index, wanted_indices
from mestad_d2.densify.key_frames import stretches
from mestad_d2.semisup.actors import KeyFrame


@pytest.mark.parametrize("times", [None, [0.0, 0.1, 0.15, 0.4, 0.42, 0.9], [1.5, 1.54, 1.6, 1.64, 1.7, 1.72]])
@pytest.mark.parametrize("codec", ["mpeg4", "libx264"])
def test_times_are_those_of_the_file(tmp_path: Path, times: list[float] | None, codec: str) -> None:
    path = tmp_path / "v.mkv"
    known = write_numbered_video(path, 6, Fraction(25), times=times, codec=codec)
    assert frame_times(path, 30.0) == pytest.approx(known, abs=2e-3)


def test_folders_count_frames(tmp_path: Path) -> None:
    for index in range(4):
        cv2.imwrite(str(tmp_path / f"{index:03d}.png"), np.zeros((8, 8, 3), np.uint8))
    assert frame_times(tmp_path, 10.0).tolist() == [0.0, 0.1, 0.2, 0.3]


def test_every_frame_between_but_not_the_key_frames() -> None:
    times = np.arange(100) / 25
    assert dense_indices(times, 1.0, 2.0, None) == list(range(26, 50))
    # A key frame that lies beside its frame by rounding is that frame.
    assert dense_indices(times, 1.001, 1.999, None) == list(range(26, 50))


@pytest.mark.parametrize(("rate", "expected"), [(5, [30, 35, 40, 45]), (1, []), (2, [37]), (1000, None)])
def test_a_rate_counts_from_the_left_key_frame(rate: float, expected: list[int] | None) -> None:
    times = np.arange(100) / 25
    found = dense_indices(times, 1.0, 2.0, rate)
    if expected is None:
        expected = list(range(26, 50))
    assert [abs(times[a] - times[b]) <= 0.0201 for a, b in zip(found, expected, strict=True)] == [True] * len(
        found
    )


def test_key_frames_are_watched_and_gaps_are_not() -> None:
    times = np.arange(200) / 25
    frames = [KeyFrame(t, ()) for t in (1.0, 2.0, 6.0)]
    wanted = wanted_indices(times, frames, stretches(frames, 1.5), 0.0, None)
    assert wanted == [*range(25, 51), 150]
    assert nearest_index(times, 1.019) == 25 and nearest_index(times, 99.0) == 199
