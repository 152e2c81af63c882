"""The dataset linter as its users call it."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path
from types import ModuleType

import pytest
from loading import load_script
from numbered_video import write_numbered_video
from shared_data import shared_data


@pytest.fixture(scope="module")
def tool() -> ModuleType:
    return load_script("tools/check_dataset.py")


@pytest.fixture
def flags(tmp_path: Path) -> list[str]:
    """A dataset of one video; a second one is missing."""
    (tmp_path / "videos").mkdir()
    write_numbered_video(tmp_path / "videos" / "a.mp4", 60, Fraction(25))
    (tmp_path / "gt.csv").write_text("a,1,0.1,0.1,0.5,0.5,1,0\nb,0001,0.1,0.1,0.5,0.5,1,0\n")
    (tmp_path / "map.txt").write_text("1: sit\n2: stand\n")
    return [
        *("--videos", str(tmp_path / "videos"), "--annotations", str(tmp_path / "gt.csv")),
        *("--label-map", str(tmp_path / "map.txt")),
    ]


def test_faults_are_shown_and_excluded(
    tool: ModuleType, flags: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    fixed = tmp_path / "fixed.csv"
    assert tool.main([*flags, "--fix-exclude", str(fixed)]) == 1
    text = capsys.readouterr().out
    assert "missing_video: 1" in text and "stand" in text and "no example" in text
    assert fixed.read_text() == "b,0001\n"
    assert tool.main([*flags, "--exclude", str(fixed)]) == 0
    assert "no faults" in capsys.readouterr().out


@pytest.mark.parametrize("wrong", [[], ["no_such_dataset"], ["--annotations", "x"]])
def test_wrong_flags_end_in_one_line(
    tool: ModuleType, wrong: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit, match="2"):
        tool.main(wrong)
    assert capsys.readouterr().err.count("\n") == 1


@pytest.mark.parametrize("split", ["train", "val"])
def test_real_clips_are_sound(tool: ModuleType, split: str) -> None:
    root = shared_data("ucf24_mini")
    annotations = root / "annotations"
    flags = ["--videos", root / "videos", "--annotations", annotations / f"{split}.csv"]
    assert tool.main([str(f) for f in [*flags, "--label-map", annotations / "labelmap.pbtxt"]]) == 0
