"""Frames for pictures are found by any form of a video's name, and never outside the folder."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import cv2
import pytest
from numbered_video import numbered_frame, read_number, write_numbered_video

from mestad_d2.data.frame_lookup import FrameLookup
from mestad_d2.errors import UserError


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A film, one in a folder, a folder of frames, and what must not be found."""
    videos = tmp_path / "videos"
    (videos / "sub").mkdir(parents=True)
    (videos / "frames").mkdir()
    write_numbered_video(videos / "clip.avi", 30, Fraction(10))
    write_numbered_video(videos / "sub" / "other.mp4", 30, Fraction(10))
    for number in range(30):
        cv2.imwrite(str(videos / "frames" / f"img_{number + 1:05d}.png"), numbered_frame(number))
    (videos / "broken.mp4").write_bytes(b"no video")
    write_numbered_video(tmp_path / "secret.mp4", 30, Fraction(10))
    return videos


@pytest.mark.parametrize(
    "name", ["clip", "clip.avi", "clip.mp4", "a/b/clip", "sub/other", "sub/other.mkv", "frames"]
)
def test_names(root: Path, name: str) -> None:
    frame = FrameLookup(root, fps=10.0)(name, 1.5)
    assert read_number(frame) == 15


@pytest.mark.parametrize("name", ["", ".", "..", "absent", "broken", "../secret", "x" * 5000, "a\0b"])
def test_what_is_not_there(root: Path, name: str) -> None:
    assert FrameLookup(root)(name, 1.0) is None


def test_times(root: Path) -> None:
    lookup = FrameLookup(root, start=900.0)
    assert read_number(lookup("clip", 902.0)) == 20
    assert lookup("clip", 2.0) is None and lookup("clip", 904.0) is None
    assert read_number(FrameLookup(root, start=None)("clip", 901.0)) == 10
    with pytest.raises(UserError, match="no such folder of videos"):
        FrameLookup(root / "absent")
