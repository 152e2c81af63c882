"""Corrections that come back in another form, in part, or not at all: no row is lost without a word."""

from __future__ import annotations

import json
from fractions import Fraction
from pathlib import Path

import pytest
from loading import load_script
from numbered_video import write_numbered_video

SIDES = 'xtl="16" ytl="8" xbr="64" ybr="48"'
ROWS = (
    "a,0,0.1000,0.1250,0.4000,0.7500,1,0\na,1,0.1000,0.1250,0.4000,0.7500,1,0\na,1.5,,,,,,\n"
    "b,0,0.1000,0.1250,0.4000,0.7500,2,4\n"
)


def image(frame: int, *boxes: str) -> str:
    """A picture of CVAT for images."""
    return f'<image id="{frame}" name="frame_{frame:06d}" width="160" height="64">{"".join(boxes)}</image>'


def ticked(person: int, action: str = "1: sit", sides: str = SIDES) -> str:
    """A box with the tick boxes of labels.json."""
    said = f'<attribute name="person_id">{person}</attribute><attribute name="{action}">true</attribute>'
    return f'<box label="person" {sides}>{said}</box>'


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Two videos of 20 frames a second with four rows, one of them a key frame without people."""
    (tmp_path / "videos").mkdir()
    for name in ("a", "b"):
        write_numbered_video(tmp_path / "videos" / f"{name}.mp4", 45, Fraction(20))
    (tmp_path / "dense.csv").write_text(ROWS)
    (tmp_path / "back").mkdir()
    return tmp_path


def take_back(folder: Path, source: str = "back", *flags: str) -> str:
    """The training csv that the corrections make."""
    load_script("tools/densify.py").main(
        ["--corrected", str(folder / source), "--annotations", str(folder / "dense.csv"), "--videos",
         str(folder / "videos"), "--output", str(folder / "out.csv"), "--overwrite", *flags]
    )  # fmt: skip
    return (folder / "out.csv").read_text()


def write(folder: Path, *content: str) -> None:
    """The corrected xml of video a."""
    (folder / "back" / "a.xml").write_text(
        f"<annotations><version>1.1</version>{''.join(content)}</annotations>"
    )


def test_cvat_for_images_is_read_and_other_videos_keep_their_rows(folder: Path, capsys) -> None:
    moved = ticked(0, sides='xtl="32" ytl="8" xbr="80" ybr="48"')
    # Frame 0 as it was, one new person on frame 20 with the old one moved; frame 10 was never labelled.
    write(folder, image(0, ticked(0)), image(10), image(20, moved, ticked(7, "2: walk")))
    assert take_back(folder).split() == [
        "a,0,0.1000,0.1250,0.4000,0.7500,1,0", "a,1,0.2000,0.1250,0.5000,0.7500,1,0",
        "a,1,0.1000,0.1250,0.4000,0.7500,2,7", "b,0,0.1000,0.1250,0.4000,0.7500,2,4", "a,1.5,,,,,,",
    ]  # fmt: skip
    assert "nothing came back of 1 video (b); they keep their rows" in capsys.readouterr().err


def test_frames_that_were_not_exported_keep_their_rows(folder: Path) -> None:
    write(folder, image(20, ticked(0, "2: walk")))
    assert take_back(folder).split()[:2] == [
        "a,0,0.1000,0.1250,0.4000,0.7500,1,0", "a,1,0.1000,0.1250,0.4000,0.7500,2,0",
    ]  # fmt: skip


def test_a_label_for_each_action_needs_the_label_map(folder: Path, capsys) -> None:
    box = f'<box frame="0" keyframe="1" outside="0" {SIDES}></box><box frame="1" keyframe="1" outside="1" {SIDES}></box>'
    meta = "<meta><task><size>45</size><start_frame>0</start_frame><stop_frame>44</stop_frame></task></meta>"
    write(folder, f'{meta}<track id="0" label="walk">{box}</track><track id="1" label="sit">{box}</track>')
    with pytest.raises(SystemExit, match="2"):
        take_back(folder)
    assert "give the label map as --labels" in capsys.readouterr().err and not (folder / "out.csv").exists()
    (folder / "map.txt").write_text("1: sit\n2: walk\n")
    rows = take_back(folder, "back", "--labels", str(folder / "map.txt")).split()
    # One person with both actions; on the other labelled frame nobody is drawn any more.
    assert rows[:2] == ["a,0,0.1000,0.1250,0.4000,0.7500,2,0", "a,0,0.1000,0.1250,0.4000,0.7500,1,0"]


@pytest.mark.parametrize(
    "content",
    [
        "<version>1</version>",
        image(0),
        '<track id="0" label="person"></track>',
        image(0, ticked(0).replace("true", "false")),
    ],
)
def test_what_gives_no_row_is_an_error(folder: Path, capsys, content: str) -> None:
    write(folder, content)
    with pytest.raises(SystemExit, match="2"):
        take_back(folder)
    error = capsys.readouterr().err
    assert error.count("\n") == 1 and str(folder / "back") in error and not (folder / "out.csv").exists()


def test_an_empty_folder_and_an_empty_json_are_errors(folder: Path, capsys) -> None:
    (folder / "x.json").write_text(json.dumps({"videos": [], "images": [], "annotations": []}))
    for source in ("back", "x.json"):
        with pytest.raises(SystemExit, match="2"):
            take_back(folder, source)
        assert str(folder / source) in capsys.readouterr().err and not (folder / "out.csv").exists()
