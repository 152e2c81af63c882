"""Times of frames against videos whose times are known, and which frames get labels."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import cv2
import numpy as np
import pytest
from numbered_video import write_numbered_video

from mestad_d2.data.prepare.frame_times import frame_times
from mestad_d2.densify.detections.frames import dense_indices, wanted_indices
from mestad_d2.densify.detections.video import cut_at_key_frames
from mestad_d2.densify.key_frames import stretches
from mestad_d2.people import People
from mestad_d2.semisup.actors import KeyFrame
from mestad_d2.video.source import VideoSource


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


def test_detections_are_cut_at_key_frames() -> None:
    """Every detection from one key frame's frame to the next one's, by the rule of the nearest frame."""
    times, start = np.arange(200) / 25, 900.0
    keys = [KeyFrame(start + t, ()) for t in (1.0, 2.005, 3.0, 6.0)]
    people = {frame: People(float(times[frame]), np.zeros((0, 4))) for frame in range(10, 140, 5)}
    video = cut_at_key_frames(
        "v", VideoSource("file", "v.mp4", 8, 8, 25.0, start=start), times, keys, people, 1.5
    )
    found = [(s.left.time, s.right.time, s.frames, s.between.tolist()) for s in video.stretches]
    assert found == [
        (901.0, 902.005, (25, 30, 35, 40, 45, 50), [False, True, True, True, True, False]),
        (902.005, 903.0, (50, 55, 60, 65, 70, 75), [False, True, True, True, True, False]),
    ]
    assert video.stretches[0].times.tolist() == [start + times[f] for f in (25, 30, 35, 40, 45, 50)]
    assert [p.timestamp for p in video.stretches[1].detections] == [times[f] for f in range(50, 80, 5)]
    # The key frame at 6 s has no neighbour near enough, and the teacher has not run on it.
    ((over, middle),) = video.left_out
    assert (over.left, over.right, middle) == (keys[0], keys[2], keys[1]) and over.frames == tuple(
        range(25, 80, 5)
    )
    assert [(key.time, p.timestamp) for key, p in video.on_key_frames] == [
        (901.0, 1.0),
        (902.005, 2.0),
        (903.0, 3.0),
    ]
