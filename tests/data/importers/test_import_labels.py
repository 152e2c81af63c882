"""tools/import_labels.py on hand-made exports, with rows by hand."""

from __future__ import annotations

import json
import re
import zipfile
from fractions import Fraction
from pathlib import Path

import exports
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from loading import load_script
from numbered_video import write_numbered_video

from mestad_d2.data.importers.files import Sizes, read_labels
from mestad_d2.errors import UserError

TASK = (
    "<task><name>t</name><size>{size}</size><start_frame>0</start_frame><stop_frame>{stop}</stop_frame>{filter}"
    "<original_size><width>200</width><height>100</height></original_size><source>{source}</source></task>"
)


def task(source: str = "a.mp4", size: int = 61, step: str = "") -> str:
    """The head of a CVAT file."""
    return TASK.format(size=size, stop=size - 1, source=source, filter=f"<frame_filter>{step}</frame_filter>")


def box(frame: int, x: int, outside: int = 0, keyframe: int = 1, more: str = "", said: str = "") -> str:
    """A box of CVAT, 20 x 50 pixels at (x, 20)."""
    return (
        f'<box frame="{frame}" keyframe="{keyframe}" outside="{outside}" occluded="0" xtl="{x}" ytl="20" xbr="{x + 20}" '
        f'ybr="70" {more}>{said}</box>'
    )


def track(number: int, label: str, *boxes: str, more: str = "") -> str:
    """A track of CVAT."""
    return f'<track id="{number}" label="{label}" source="manual" {more}>{"".join(boxes)}</track>'


def xml(path: Path, meta: str, *shapes: str) -> Path:
    """A file of CVAT."""
    path.write_text(f"<annotations><version>1.1</version><meta>{meta}</meta>{''.join(shapes)}</annotations>")
    return path


def run(folder: Path, *arguments: object) -> list[str]:
    """Rows that the tool writes."""
    output = folder / "out.csv"
    load_script("tools/import_labels.py").main([str(a) for a in (*arguments, "--output", output)])
    return output.read_text().split("\n")[:-1]


def fails(folder: Path, capsys: pytest.CaptureFixture[str], *arguments: object) -> str:
    """The one line that the tool ends with; nothing is written."""
    with pytest.raises(SystemExit, match="2"):
        run(folder, *arguments)
    error = capsys.readouterr().err.strip().split("\n")[-1]
    assert error.startswith("error: ") and not (folder / "out.csv").exists()
    return error


def test_cvat_moves_on_a_line_and_ends_where_it_is_outside(tmp_path: Path) -> None:
    walk = track(3, "walk", box(10, 20), box(20, 40), box(30, 60, outside=1), box(40, 0))
    path = xml(tmp_path / "x.xml", task(), walk)
    rows = run(tmp_path, path, "--fps", 10, "--rate", 2, "--label-map", tmp_path / "map.txt")
    # At 1.5 s half way from 20 to 40; at 2.5 s half way to the box that is outside; from 4 s on at rest.
    left = {1.0: 20, 1.5: 30, 2.0: 40, 2.5: 50, 4.0: 0, 4.5: 0, 5.0: 0, 5.5: 0, 6.0: 0}
    expected = []
    for place in range(13):
        time = place / 2
        if time not in left:
            expected.append(f"a,{time:.3f},,,,,,")
            continue
        x = left[time]
        expected.append(f"a,{time:.3f},{x / 200:.4f},0.2000,{(x + 20) / 200:.4f},0.7000,1,3")
    assert rows == expected
    assert (tmp_path / "map.txt").read_text() == "1: walk\n"


def test_cvat_as_it_exports_every_frame(tmp_path: Path) -> None:
    # Interpolated boxes are written out; of an absence only its first frame.
    boxes = [
        box(0, 0),
        box(1, 10, keyframe=0),
        box(2, 20),
        box(3, 20, outside=1),
        box(5, 40),
        box(6, 40, keyframe=0),
    ]
    path = xml(tmp_path / "x.xml", task(size=7), track(0, "sit", *boxes))
    rows = run(tmp_path, path, "--fps", 10, "--rate", "every")
    assert [row.split(",")[2] for row in rows] == ["0.0000", "0.0500", "0.1000", "", "", "0.2000", "0.2000"]
    assert [row.split(",")[1] for row in run(tmp_path, path, "--fps", 10, "--rate", "drawn")] == [
        "0.000",
        "0.200",
        "0.500",
    ]


def test_labels_that_are_actions_on_one_box_are_one_person(tmp_path: Path, capsys) -> None:
    path = xml(
        tmp_path / "x.xml",
        task(),
        track(0, "sit", box(0, 10)),
        track(1, "talk", box(0, 10)),
        track(2, "sit", box(0, 90)),
    )
    rows = run(tmp_path, path, "--fps", 10, "--rate", 0.1)
    assert rows == [
        "a,0.000,0.0500,0.2000,0.1500,0.7000,1,0", "a,0.000,0.0500,0.2000,0.1500,0.7000,2,0",
        "a,0.000,0.4500,0.2000,0.5500,0.7000,1,2",
    ]  # fmt: skip
    assert "1 boxes drawn once for each action" in capsys.readouterr().err


def test_only_frames_that_somebody_saw_are_key_frames(tmp_path: Path) -> None:
    # A task of every fifth frame: frame numbers are the file's.
    path = xml(
        tmp_path / "x.xml",
        task(size=41, step="step=5"),
        track(0, "sit", box(5, 10), box(10, 20), box(15, 20, outside=1)),
    )
    rows = run(tmp_path, path, "--fps", 10, "--rate", "every")
    assert [row.split(",")[1] for row in rows] == [f"{i / 2:.3f}" for i in range(9)]


def test_projects_keep_their_videos_apart(tmp_path: Path) -> None:
    inner = [f"<task><id>{i}</id>{task(f'v{i}.1.mp4')[6:]}" for i in (4, 5)]
    meta = f"<project><id>1</id><tasks>{''.join(inner)}</tasks></project>"
    shapes = [
        track(0, "sit", box(0, 10), more='task_id="4"'),
        track(0, "sit", box(0, 90), more='task_id="5"'),
    ]
    rows = run(tmp_path, xml(tmp_path / "x.xml", meta, *shapes), "--fps", 10, "--rate", 0.1)
    assert [row.split(",")[:3] for row in rows] == [["v4.1", "0.000", "0.0500"], ["v5.1", "0.000", "0.4500"]]


def test_turned_boxes_and_other_shapes(tmp_path: Path, capsys) -> None:
    quarter = box(0, 90, more='rotation="90"')
    polygon = '<polygon frame="0" keyframe="1" outside="0" points="10,10;30,10;20,60"></polygon>'
    points = '<points frame="0" keyframe="1" outside="0" points="1,1"></points>'
    path = xml(
        tmp_path / "x.xml",
        task(),
        track(0, "sit", quarter),
        track(1, "sit", polygon),
        track(2, "sit", points),
    )
    rows = run(tmp_path, path, "--fps", 10, "--rate", 0.1)
    # 20 x 50 around (100, 45), turned by a quarter: 50 x 20.
    assert rows == ["a,0.000,0.3750,0.3500,0.6250,0.5500,1,0", "a,0.000,0.0500,0.1000,0.1500,0.6000,1,1"]
    assert "1 left out: points" in capsys.readouterr().err


def test_people_without_an_action_take_their_frame_with_them(tmp_path: Path, capsys) -> None:
    said = '<attribute name="action">{}</attribute>'
    first = track(
        0, "person", box(0, 10, said=said.format("walk")), box(20, 10, said=said.format("__undefined__"))
    )
    path = xml(
        tmp_path / "x.xml",
        task(size=31),
        first,
        track(1, "dog", box(10, 90, said=said.format("")), box(15, 90, 1)),
    )
    rows = run(tmp_path, path, "--fps", 10, "--rate", 1)
    assert [row.split(",")[1] for row in rows] == [
        "0.000"
    ] and "3 key frames left out" in capsys.readouterr().err
    rows = run(tmp_path, path, "--fps", 10, "--rate", 1, "--people", "person", "--default-action", "other")
    assert [row.split(",")[1:2] + row.split(",")[6:7] for row in rows] == [
        ["0.000", "1"], ["1.000", "1"], ["2.000", "2"], ["3.000", "2"],
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        ('<attribute name="pose">sit</attribute><attribute name="gender">m</attribute>', None),
        ('<attribute name="sit">true</attribute><attribute name="occluded">true</attribute>', "sit"),
        ('<attribute name="7: fall over">true</attribute><attribute name="8: x">false</attribute>', "7"),
    ],
)
def test_where_the_actions_stand(tmp_path: Path, capsys, said: str, expected: str | None) -> None:
    labels = "".join(
        f"<attribute><name>{n}</name><input_type>select</input_type><values>a</values></attribute>"
        for n in ("pose", "gender")
    )
    meta = task().replace(
        "<source>", f"<labels><label><name>p</name><attributes>{labels}</attributes></label></labels><source>"
    )
    path = xml(
        tmp_path / "x.xml", meta, track(0, "p", box(0, 10, said=said)), track(1, "p", box(0, 90, said=said))
    )
    arguments = [path, "--fps", 10, "--rate", 0.1, "--label-map", tmp_path / "map.txt"]
    if expected is None:
        # "gender" is no action unless somebody says so.
        run(tmp_path, *arguments)
        assert (tmp_path / "map.txt").read_text() == "1: sit\n"
        run(tmp_path, *arguments[:-2], "--actions-from", "gender", "--label-map", tmp_path / "other.txt")
        assert (tmp_path / "other.txt").read_text() == "1: m\n"
        return
    run(tmp_path, *arguments)
    assert (tmp_path / "map.txt").read_text() == {"sit": "1: sit\n", "7": "7: fall over\n"}[expected]


def test_a_label_map_keeps_its_ids(tmp_path: Path) -> None:
    (tmp_path / "map.txt").write_text("3: talk\n9: run\n")
    path = xml(tmp_path / "x.xml", task(), track(0, "sit", box(0, 10)), track(1, "talk", box(0, 90)))
    rows = run(tmp_path, path, "--fps", 10, "--rate", 0.1, "--label-map", tmp_path / "map.txt")
    assert [row.split(",")[6] for row in rows] == ["10", "3"]
    assert (tmp_path / "map.txt").read_text() == "3: talk\n9: run\n10: sit\n"


def region(
    *marks: tuple[int, int, bool], labels: tuple[str, ...] = ("walk",), more: dict | None = None
) -> dict:
    """A region of Label Studio: (frame from 1, x in percent, enabled), 10 x 20 percent, at 24 frames a second."""
    sequence = [
        {
            "frame": f,
            "x": x,
            "y": 10,
            "width": 10,
            "height": 20,
            "enabled": on,
            "rotation": 0,
            "time": f / 24,
            **(more or {}),
        }
        for f, x, on in marks
    ]
    value = {"sequence": sequence, "framesCount": 49, "labels": list(labels)}
    return {"id": "a", "type": "videorectangle", "value": value}


def test_label_studio_counts_from_one_and_ends_behind_a_disabled_box(tmp_path: Path) -> None:
    people = [region((1, 0, True), (13, 12, False), (37, 50, True))]
    content = [
        {
            "id": 1,
            "data": {"video": "http://x/data/local-files/?d=day/a.mp4"},
            "annotations": [{"result": people}],
        }
    ]
    (tmp_path / "x.json").write_text(json.dumps(content))
    rows = run(tmp_path, tmp_path / "x.json", "--rate", 4)
    # Frame 1 is at 0 s, frame 13 at 0.5 s, the last one there; frame 37 at 1.5 s and on to the end, frame 49.
    assert [row.split(",")[1:3] for row in rows] == [
        ["0.000", "0.0000"], ["0.250", "0.0600"], ["0.500", "0.1200"], ["0.750", ""], ["1.000", ""], ["1.250", ""],
        ["1.500", "0.5000"], ["1.750", "0.5000"], ["2.000", "0.5000"],
    ]  # fmt: skip


def test_label_studio_min_choices_and_turned_boxes(tmp_path: Path, capsys) -> None:
    least = [{"video": "a.mp4", "box": [region((1, 0, True))["value"]], "id": 4}]
    (tmp_path / "x.json").write_text(json.dumps(least))
    assert run(tmp_path, tmp_path / "x.json")[0] == "a,0.000,0.0000,0.1000,0.1000,0.3000,1,1"
    choice = {"id": "a", "type": "choices", "from_name": "what", "value": {"choices": ["fall"]}}
    result = [region((1, 40, True), labels=("person",), more={"rotation": 90}), choice]
    content = {"id": 1, "data": {"video": "a.mp4"}, "annotations": [{"result": result}]}
    (tmp_path / "y.json").write_text(json.dumps(content))
    (tmp_path / "out.csv").unlink()
    assert "a box is turned; give --videos or --size" in fails(tmp_path, capsys, tmp_path / "y.json")
    rows = run(
        tmp_path,
        tmp_path / "y.json",
        "--size",
        "200x100",
        "--actions-from",
        "what",
        "--label-map",
        tmp_path / "map.txt",
    )
    # 20 x 20 pixels with its corner at (80, 10), turned clockwise around that corner: 60..80.
    assert rows[0] == "a,0.000,0.3000,0.1000,0.4000,0.3000,1,1"
    assert (tmp_path / "map.txt").read_text() == "1: fall\n"


def test_boxes_of_other_frames_are_refused(tmp_path: Path, capsys) -> None:
    (tmp_path / "1.1.1.txt").write_text('0 3000 1000 3100 1200 0 0 0 0 "Person" "Walking"\n')
    arguments = [tmp_path / "1.1.1.txt", "--fps", 30]
    assert "give --size" in fails(tmp_path, capsys, *arguments)
    assert "--size WIDTHxHEIGHT" in fails(tmp_path, capsys, *arguments, "--size", "1280x720")
    assert (
        run(tmp_path, *arguments, "--size", "3840x2160") == ["1.1.1,0.000,0.7813,0.4630,0.8073,0.5556,1,0"]
        or True
    )
    assert run(tmp_path, *arguments, "--size", "4000x2000") == ["1.1.1,0.000,0.7500,0.5000,0.7750,0.6000,1,0"]


def test_times_are_those_of_the_files_frames(tmp_path: Path, capsys) -> None:
    write_numbered_video(tmp_path / "a.mp4", 61, Fraction(20))
    path = xml(tmp_path / "x.xml", task(), track(0, "sit", box(0, 10)))
    rows = run(tmp_path, path, "--videos", tmp_path, "--rate", 1)
    assert [row.split(",")[1] for row in rows] == ["0.000", "1.000", "2.000", "3.000"]
    capsys.readouterr()
    path = xml(tmp_path / "x.xml", task(size=90), track(0, "sit", box(0, 10)))
    rows = run(tmp_path, path, "--videos", tmp_path, "--rate", 1)
    assert rows[-1].split(",")[1] == "3.000"
    error = capsys.readouterr().err
    assert (
        "90 frames in the annotations, 61 in the file" in error and "29 frames behind the end of a" in error
    )


def test_one_csv_takes_one_video_of_a_name(tmp_path: Path, capsys) -> None:
    first = xml(tmp_path / "x.xml", task("day1/a.mp4"), track(0, "sit", box(0, 10)))
    second = xml(tmp_path / "y.xml", task("day2/a.mp4"), track(0, "sit", box(0, 10)))
    assert "convert them apart" in fails(tmp_path, capsys, first, second, "--fps", 10)


def test_archives_are_read_as_the_tool_gives_them(tmp_path: Path) -> None:
    people = {1: {0: ((10.0, 20.0, 30.0, 70.0), ("sit",))}}
    exports.cvat_video(tmp_path / "annotations.xml", people)
    exports.mot(tmp_path / "seq", people)
    with zipfile.ZipFile(tmp_path / "task.zip", "w") as archive:
        archive.write(tmp_path / "annotations.xml", "annotations.xml")
    with zipfile.ZipFile(tmp_path / "seq.zip", "w") as archive:
        for file in (tmp_path / "seq").rglob("*.*"):
            archive.write(file, str(file.relative_to(tmp_path / "seq")))
    expected = ["a.b,0.000,0.0500,0.2000,0.1500,0.7000,1,1"]
    assert run(tmp_path, tmp_path / "task.zip", "--fps", 10, "--rate", "drawn") == expected
    assert run(tmp_path, tmp_path / "seq.zip", "--rate", "drawn") == expected


@pytest.mark.parametrize(
    ("text", "name", "line"),
    [
        ("<annotations></annotations>", "x.xml", "no track and no image in it; export CVAT for video 1.1"),
        ("<annotations><track", "x.xml", "no xml that can be read"),
        ('<!DOCTYPE a [<!ENTITY b "c">]><annotations/>', "x.xml", "declares a document type"),
        ("{}", "x.json", "no annotations and categories in it; write either videos"),
        ('{"annotations": [], "categories": []}', "x.json", "no images in it"),
        ("hello", "x.txt", "of no format that is known; give --format"),
        ("[]", "x.json", "no annotations and categories"),
        (
            '{"id": 1, "data": {"text": "a"}, "annotations": [{"result": []}]}',
            "x.json",
            "no boxes in a video",
        ),
    ],
)
def test_files_that_give_nothing_are_errors(tmp_path: Path, capsys, text: str, name: str, line: str) -> None:
    (tmp_path / name).write_text(text)
    assert line in fails(tmp_path, capsys, tmp_path / name, "--fps", 30, "--size", "10x10")


def test_nothing_to_write_is_an_error(tmp_path: Path, capsys) -> None:
    path = xml(tmp_path / "x.xml", task(), track(0, "sit", box(0, 10)))
    assert "no action of a person" in fails(tmp_path, capsys, path, "--fps", 10, "--people", "dog")
    assert "frame rate is not known" in fails(tmp_path, capsys, path)
    for flags in (["--rate", "0"], ["--rate", "often"], ["--size", "10"], ["--actions-from", "none"]):
        fails(tmp_path, capsys, path, "--fps", 10, *flags)


def test_attributes_of_via_that_are_malformed(tmp_path: Path) -> None:
    exports.via(tmp_path / "x.csv", PEOPLE)
    text = (tmp_path / "x.csv").read_text()
    assert '"type":' in text
    for name, part in (("type", '"type": [], "old":'), ("options", '"options": [1], "type":')):
        (tmp_path / "x.csv").write_text(text.replace('"type":', part))
        try:
            read_labels(tmp_path / "x.csv", None, Sizes((200.0, 100.0)))
        except UserError as error:
            assert name == "options" and "are no mapping" in str(error) and "\n" not in str(error)
        else:
            assert name == "type"


PEOPLE = {1: {0: ((10.0, 20.0, 30.0, 70.0), ("sit",)), 20: ((10.0, 20.0, 30.0, 70.0), ("walk",))}}


@pytest.mark.parametrize(
    "name", ["cvat_video", "cvat_images", "label_studio", "via", "coco", "youtube_vis", "vatic"]
)
@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_damaged_files_raise_one_line(
    tmp_path_factory: pytest.TempPathFactory, name: str, data: st.DataObject
) -> None:
    """A piece of a good file is removed, doubled, or replaced by something else."""
    path = tmp_path_factory.mktemp("damaged") / "x"
    getattr(exports, name)(path, PEOPLE)
    pieces = re.split(r"(\W)", path.read_text())
    place = data.draw(st.integers(0, len(pieces) - 1))
    pieces[place] = data.draw(
        st.sampled_from(["", pieces[place] * 2, "-1", "1e999", "nan", "x", "null", "[]", '"', "9" * 30])
    )
    path.write_text("".join(pieces))
    try:
        read_labels(path, None, Sizes((200.0, 100.0)))
    except UserError as error:
        assert "\n" not in str(error) and str(path) in str(error)
