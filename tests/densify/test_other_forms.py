"""Corrections that come back in another form, in part, or not at all: no row is lost without a word."""

from __future__ import annotations

import json
from fractions import Fraction
from pathlib import Path

import pytest
from loading import load_script
from numbered_video import write_numbered_video

from mestad_d2.formats.ava_csv import read_ground_truth

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


@pytest.fixture(scope="module")
def videos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two videos of 20 frames a second."""
    place = tmp_path_factory.mktemp("videos")
    for name in ("a", "b"):
        write_numbered_video(place / f"{name}.mp4", 45, Fraction(20))
    return place


@pytest.fixture
def folder(videos: Path, tmp_path: Path) -> Path:
    """The videos with four rows, one of them a key frame without people."""
    (tmp_path / "videos").symlink_to(videos)
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


HUGE = 10**30
NAN, INF = float("nan"), float("inf")
BOX = {"bbox": [16.0, 8.0, 48.0, 40.0], "category_id": 1, "track_id": 0, "confidence": None}


def coco(**changes: object) -> dict:
    """One annotation of video a as densify writes it, with changed keys of the annotation, its image or its video."""
    image = {"id": 1, "video_id": 1, "frame_id": 5, "timestamp": "0", "width": 160, "height": 64}
    video = {"id": 1, "name": "a", "fps": 20.0, "start": 0.0}
    entry = {"id": 7, "image_id": 1, **BOX}
    for part in (image, video, entry):
        part |= {key: changes[key] for key in part.keys() & changes.keys()}
    return {"videos": [video], "images": [image], "annotations": [entry], **changes.get("top", {})}


def refused(folder: Path, capsys: pytest.CaptureFixture[str], source: str, *named: str) -> None:
    """One line names file and entry, and nothing is written."""
    with pytest.raises(SystemExit, match="2"):
        take_back(folder, source)
    error = capsys.readouterr().err
    assert error.count("\n") == 1 and len(error) < 600 and "Traceback" not in error
    assert all(text in error for text in named), error
    assert not (folder / "out.csv").exists()


@pytest.mark.parametrize(
    "change",
    [{"bbox": [value, 8.0, 48.0, 40.0]} for value in (NAN, INF, -INF, 1e300, -1e300, 1e4, "x", None, [])]
    + [{"bbox": box} for box in ([16, 8, 0, 40], [16, 8, -4, 40], [200, 8, 9, 9], [16, 8, NAN, 40], [1, 2], None)]
    + [{"category_id": value} for value in (NAN, INF, 1e300, HUGE, 0, -1, 1.5, "x", None)]
    + [{"track_id": value} for value in (NAN, INF, -1e300, HUGE, 0.5, "x", None)]
    + [{"confidence": value} for value in (NAN, INF, -INF, -0.1, 1.1, 1e300, "x", [])]
    + [{"timestamp": value} for value in ("nan", "inf", "1e300", NAN, INF, 1e300, "soon")]
    + [{"timestamp": None, key: value} for key in ("frame_id", "fps", "start") for value in (NAN, INF, "x")]
    + [{"timestamp": None, "frame_id": HUGE}, {"timestamp": None, "fps": 0}, {"name": ""}]
    + [{key: value} for key in ("width", "height") for value in (0, NAN, INF, -160, "x", 1e-300)],
    ids=str,
)  # fmt: skip
def test_wrong_values_in_a_corrected_json(folder: Path, capsys, change: dict) -> None:
    (folder / "x.json").write_text(json.dumps(coco(**change)))
    refused(folder, capsys, "x.json", "x.json: annotation 7:")


@pytest.mark.parametrize(
    "text",
    ["", "[]", "3", "null", '{"videos": 3}', '{"videos": [3]}', "[" * 100_000, '{"videos": [], "images": []}',
     json.dumps(coco(top={"annotations": [3]})), json.dumps(coco(top={"annotations": [{"id": 1}]})),
     json.dumps(coco(top={"annotations": 3})), json.dumps(coco(top={"images": []}))],
    ids=lambda text: text[:40],
)  # fmt: skip
def test_wrong_layouts_of_a_corrected_json(folder: Path, capsys, text: str) -> None:
    (folder / "x.json").write_text(text)
    refused(folder, capsys, "x.json", "x.json: ")


CORNER = [f'{name}="{value}"' for name in ("xtl", "ybr") for value in ("nan", "inf", "1e300", "-1e300", "x")]


@pytest.mark.parametrize(
    ("change", "value"),
    [*((side.split("=")[0], side) for side in CORNER), ("xbr", 'xbr="16"'), ("xbr", 'xbr="2"'), ("ytl", 'ytl="70"'),
     *(("frame", f'frame="{value}"') for value in ("-1", "45", HUGE, "nan", "1.5", "")),
     *(("person_id", str(value)) for value in (HUGE, -HUGE, "nan", "1e300", "0.5", "9" * 5000)),
     *(("confidence", f"1:{value}") for value in ("nan", "inf", "-1", "2", "x", "")),
     *(("action", str(value)) for value in (HUGE, 0))],
    ids=lambda text: text[:40],
)  # fmt: skip
def test_wrong_values_in_a_corrected_cvat_video(folder: Path, capsys, change: str, value: str) -> None:
    sides = dict(part.split("=") for part in SIDES.split()) | {"frame": '"20"'}
    texts = {"person_id": "0", "confidence": "", "action": "1"}
    if change in sides:
        sides[change] = value.partition("=")[2]
    else:
        texts[change] = value
    told = "".join(f'<attribute name="{k}">{texts[k]}</attribute>' for k in ("person_id", "confidence"))
    told += f'<attribute name="{texts["action"]}: sit">true</attribute>'
    place = " ".join(f"{key}={text}" for key, text in sides.items())
    write(folder, f'<track id="4" label="person"><box outside="0" keyframe="1" {place}>{told}</box></track>')
    refused(folder, capsys, "back", "a.xml: track 4, frame ")


@pytest.mark.parametrize(
    "box",
    [ticked(HUGE), ticked(0, f"{HUGE}: sit"), ticked(0, "0: sit"),
     *(ticked(0, sides=SIDES.replace("16", value)) for value in ("nan", "inf", "-1e300", "70"))],
    ids=range(7),
)  # fmt: skip
def test_wrong_values_in_corrected_cvat_images(folder: Path, capsys, box: str) -> None:
    write(folder, image(20, box))
    refused(folder, capsys, "back", "a.xml: ")


def test_an_entity_in_a_corrected_xml_is_refused(folder: Path, capsys) -> None:
    text = f"<annotations>{image(20, ticked(0))}</annotations>"
    (folder / "back" / "a.xml").write_text(f'<!DOCTYPE a [<!ENTITY b "c">]>{text}')
    refused(folder, capsys, "back", "declares a document type")


def test_boxes_that_reach_a_little_beyond_the_picture_are_trained_on(folder: Path) -> None:
    (folder / "x.json").write_text(json.dumps(coco(bbox=[-4.0, 8.0, 68.0, 60.0])))
    take_back(folder, "x.json")
    rows = read_ground_truth(folder / "out.csv")
    assert [row.box for row in rows if row.timestamp == 0 and row.video_id == "a"] == [
        (-0.025, 0.125, 0.4, 1.0625)
    ]
