"""tools/import_labels.py on what published label files have and the tools' descriptions don't say; small, made by hand."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from loading import load_script

META = (
    "<meta><task><id>7</id><name>job</name><size>{size}</size><start_frame>0</start_frame><stop_frame>{stop}</stop_frame>"
    "<original_size><width>200</width><height>100</height></original_size>{source}</task></meta>"
)


def run(folder: Path, *arguments: object) -> list[str]:
    """Rows that the tool writes."""
    output, labels = folder / "out.csv", folder / "labels.txt"
    for path in (output, labels):
        path.unlink(missing_ok=True)
    flags = ["--output", output, "--label-map", labels]
    load_script("tools/import_labels.py").main([str(a) for a in (*arguments, *flags)])
    return output.read_text().split("\n")[:-1]


def fails(folder: Path, capsys: pytest.CaptureFixture[str], *arguments: object) -> str:
    """The one line that the tool ends with."""
    with pytest.raises(SystemExit, match="2"):
        run(folder, *arguments)
    return capsys.readouterr().err.strip().split("\n")[-1]


def box(frame: int, x: int, said: str = "") -> str:
    """A box of a track, 20 x 50 pixels at (x, 20)."""
    sides = f'xtl="{x}" ytl="20" xbr="{x + 20}" ybr="70"'
    return f'<box frame="{frame}" keyframe="1" occluded="0" outside="0" {sides}>{said}</box>'


def cvat(path: Path, size: int, *shapes: str, source: str = "<source>a.mp4</source>") -> Path:
    """A file of CVAT of frames of 200 x 100 pixels."""
    meta = META.format(size=size, stop=size - 1, source=source)
    path.write_text(f"<annotations>{meta}{''.join(shapes)}</annotations>")
    return path


def image(number: int, name: str, x: int, more: str = "") -> str:
    """A picture with one box."""
    sides = f'xtl="{x}" ytl="20" xbr="{x + 20}" ybr="70"'
    return f'<image id="{number}" name="{name}" width="200" height="100" {more}><box label="sit" {sides}/></image>'


def test_a_track_that_lists_every_frame_ends_with_its_last_box(tmp_path: Path) -> None:
    # As JAAD's files: no box is outside, and the person walks out of the picture before the video ends.
    listed = f'<track label="walk">{"".join(box(f, 10 * f) for f in range(3))}</track>'
    key_frames = f'<track label="sit">{box(0, 100)}{box(2, 120)}</track>'
    path = cvat(tmp_path / "x.xml", 5, listed, key_frames)
    rows = run(tmp_path, path, "--fps", 1, "--rate", "every")
    assert [row.split(",")[1:3] for row in rows if row.endswith(",2,0")] == [
        ["0.000", "0.0000"], ["1.000", "0.0500"], ["2.000", "0.1000"]
    ]  # fmt: skip
    # The other lists key frames alone: CVAT keeps the person to the end.
    assert [row.split(",")[1:3] for row in rows if row.endswith(",1,1")] == [
        ["0.000", "0.5000"], ["1.000", "0.5500"], ["2.000", "0.6000"], ["3.000", "0.6000"], ["4.000", "0.6000"]
    ]  # fmt: skip


def test_a_track_whose_person_and_attributes_change(tmp_path: Path) -> None:
    def said(person: str, action: str) -> str:
        return f'<attribute name="id">{person}</attribute><attribute name="action">{action}</attribute>'

    boxes = [box(0, 0, said("4", "sit")), box(2, 20, said("4", "walk")), box(4, 40, said("9", "walk"))]
    boxes += [box(6, 60, said("4", "sit")), box(8, 80, said("", "sit"))]
    path = cvat(tmp_path / "x.xml", 10, f'<track id="0" label="person">{"".join(boxes)}</track>')
    rows = run(tmp_path, path, "--fps", 1, "--rate", "every")
    names = dict(line.split(": ") for line in (tmp_path / "labels.txt").read_text().splitlines())
    found = [
        (float(r[1]), round(float(r[2]) * 200), names[r[6]], r[7]) for r in (row.split(",") for row in rows)
    ]
    # A box keeps attributes and person up to the next one, towards which it moves.
    who = ["4", "4", "4", "4", "9", "9", "4", "4", "4", "4"]
    what = ["sit", "sit", "walk", "walk", "walk", "walk", "sit", "sit", "sit", "sit"]
    where = [0, 10, 20, 30, 40, 50, 60, 70, 80, 80]
    assert found == list(zip(map(float, range(10)), where, what, who, strict=True))


def test_pictures_of_several_videos_in_one_folder(tmp_path: Path) -> None:
    names = ["1_000001.jpg", "1_000031.jpg", "2_000001.jpg", "cam_frame_000001.jpg"]
    shapes = [image(i, name, 10 * i) for i, name in enumerate(names)]
    path = cvat(tmp_path / "x.xml", 4, *shapes, source="")
    expected = ["1,0.000,0.0000", "1,1.000,0.0500", "2,0.000,0.1000", "cam,0.000,0.1500"]
    rows = run(tmp_path, path, "--fps", 30, "--rate", "every")
    assert [",".join(row.split(",")[:3]) for row in rows] == expected

    coco = {
        "images": [{"id": i, "file_name": n, "width": 200, "height": 100} for i, n in enumerate(names)],
        "annotations": [{"image_id": i, "category_id": 1, "bbox": [10 * i, 20, 20, 50]} for i in range(4)],
        "categories": [{"id": 1, "name": "sit"}],
    }
    (tmp_path / "x.json").write_text(json.dumps(coco))
    rows = run(tmp_path, tmp_path / "x.json", "--fps", 30, "--rate", "every")
    assert [",".join(row.split(",")[:3]) for row in rows] == expected


def test_pictures_of_one_name_in_two_subsets(tmp_path: Path, capsys) -> None:
    pictures = [image(0, "f1.jpg", 0, 'subset="Train"'), image(0, "f1.jpg", 50, 'subset="Test"')]
    rows = run(tmp_path, cvat(tmp_path / "x.xml", 1, *pictures, source=""), "--fps", 30, "--rate", "every")
    assert [",".join(row.split(",")[:3]) for row in rows] == [
        "job_Test,0.000,0.2500",
        "job_Train,0.000,0.0000",
    ]
    twice = cvat(tmp_path / "x.xml", 1, image(0, "f1.jpg", 0), image(1, "f1.png", 50), source="")
    assert "image f1.png: frame 1 stands there twice" in fails(tmp_path, capsys, twice, "--fps", 30)


def test_frames_that_count_labelled_ones_and_unknown_categories(tmp_path: Path, capsys) -> None:
    # As TAO converted for mmtracking: one frame a second is labelled; frame_id counts those, frame_index all.
    image = {"video_id": 0, "width": 200, "height": 100}
    coco = {
        "videos": [{"id": 0, "name": "a"}],
        "images": [{**image, "id": i, "frame_id": i, "frame_index": 390 + 30 * i} for i in range(2)],
        "annotations": [
            {"id": 3, "image_id": i, "category_id": 5, "bbox": [0, 20, 20, 50]} for i in range(2)
        ],
        "categories": [{"id": 5, "name": "sit"}],
    }
    path = tmp_path / "x.json"
    path.write_text(json.dumps(coco))
    rows = run(tmp_path, path, "--fps", 30, "--rate", "every")
    assert [row.split(",")[1] for row in rows] == ["13.000", "14.000"]
    coco["annotations"][1]["category_id"] = 95
    path.write_text(json.dumps(coco))
    line = fails(tmp_path, capsys, path, "--fps", 30)
    assert line.endswith("annotation 3: category 95 is not among the categories; export it anew")


def test_mot_with_comments(tmp_path: Path) -> None:
    (tmp_path / "seq").mkdir()
    path = tmp_path / "seq" / "gt.txt"
    path.write_text("# frame,id,x,y,w,h,considered,class,visibility\n\n1,7,20,10,40,50,1,1,1.0\n")
    rows = run(tmp_path, path, "--fps", 1, "--size", "200x100", "--format", "mot")
    assert rows == ["seq,0.000,0.1000,0.1000,0.3000,0.6000,1,7"]


def test_predictions_of_label_studio_without_their_task(tmp_path: Path, capsys) -> None:
    sequence = [{"frame": 1, "x": 10, "y": 20, "width": 10, "height": 30, "time": 1 / 25, "enabled": False}]
    value = {"labels": ["sit"], "framesCount": 1, "sequence": sequence}
    prediction = {"model_version": "m", "result": [{"type": "videorectangle", "value": value}]}
    path = tmp_path / "clip.json"
    path.write_text(json.dumps([prediction]))
    assert run(tmp_path, path) == ["clip,0.000,0.1000,0.2000,0.2000,0.5000,1,1"]
    path.write_text(json.dumps([prediction, prediction]))
    assert "2 predictions without the videos" in fails(tmp_path, capsys, path)


def test_values_that_are_no_action(tmp_path: Path, capsys) -> None:
    def person(number: int, value: str) -> str:
        said = f'<attribute name="action">{value}</attribute>'
        return f'<track id="{number}" label="person">{box(0, 50 * number, said)}</track>'

    path = cvat(tmp_path / "x.xml", 1, person(0, "unknown"), person(1, "sit"))
    assert len(run(tmp_path, path, "--fps", 1)) == 2
    flags = ["--no-action", "unknown", "--default-action", "other"]
    run(tmp_path, path, "--fps", 1, *flags)
    assert (tmp_path / "labels.txt").read_text() == "1: sit\n2: other\n"
    line = fails(tmp_path, capsys, path, "--fps", 1, "--no-action", "unknown")
    assert "no action of a person" in line
