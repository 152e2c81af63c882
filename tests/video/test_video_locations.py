"""Videos are found by their names, whatever camera or program gave them their suffix."""

from __future__ import annotations

from pathlib import Path

import pytest

from mestad_d2.errors import UserError
from mestad_d2.video.video_locations import find_video, locate_videos


@pytest.mark.parametrize(
    "name",
    [
        "GX010042.MP4", "IMG_0007.MOV", "00001.MTS", "tape.mpg", "cam.ts", "old.wmv", "phone.3gp", "a.Avi", "d.VOB",
        "with.dots.in.it.m2ts", "sub/folder.webm", "視頻.MKV", "stream.flv",
    ],
)  # fmt: skip
def test_suffixes_of_cameras(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    path.parent.mkdir(exist_ok=True)
    path.touch()
    video_id = name.rpartition(".")[0]
    assert find_video(tmp_path, video_id) == str(path)
    assert find_video(tmp_path, video_id.upper() + "x") is None


def test_of_two_containers_the_usual_one(tmp_path: Path) -> None:
    for name in ("a.MOV", "a.mp4", "a.csv", "a.jpg", ".a.mp4"):
        (tmp_path / name).touch()
    assert find_video(tmp_path, "a") == str(tmp_path / "a.mp4")


def test_a_file_that_comes_later_is_found(tmp_path: Path) -> None:
    assert find_video(tmp_path, "a") is None
    (tmp_path / "a.MP4").touch()
    assert find_video(tmp_path, "a") == str(tmp_path / "a.MP4")


def test_kinetics_names_with_other_suffixes(tmp_path: Path) -> None:
    (tmp_path / "abc_000012_000022.MOV").touch()
    assert find_video(tmp_path, "abc") == str(tmp_path / "abc_000012_000022.MOV")


def test_a_file_of_this_name_that_is_no_video_is_named(tmp_path: Path) -> None:
    (tmp_path / "a.xyz").touch()
    with pytest.raises(UserError, match=r"1 of 1 videos are missing \(a\).*; a.xyz is there, but its suffix"):
        locate_videos(["a"], str(tmp_path))
