"""Converters on files as people have them: names with dots, empty frames, short tubes, other rates, other kinds of json."""

from __future__ import annotations

import json
import pickle
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from loading import load_script
from numbered_video import write_numbered_video

from mestad_d2.data.prepare.convert import Tally, Timing, tube_labels
from mestad_d2.data.prepare.rates import Clock
from mestad_d2.formats.ava_csv import read_ground_truth, read_label_map


def convert(name: str, *arguments: object) -> None:
    """Run a script of the datasets folder."""
    load_script(f"datasets/{name}.py").main([str(argument) for argument in arguments])


def coco(
    path: Path, videos: list[str], frames: list[list[int]], empty: list[list[int]] | None = None
) -> Path:
    """A json of videos with one box on each frame, and images of nobody on those of ``empty``."""
    images, annotations = [], []
    for video, (shown, nobody) in enumerate(zip(frames, empty or [[]] * len(frames), strict=True), 1):
        for frame in sorted([*shown, *nobody]):
            number = len(images) + 1
            images.append({"id": number, "video_id": video, "frame_id": frame, "width": 100, "height": 100})
            if frame in shown:
                box = {"image_id": number, "category_id": 1, "bbox": [10, 20, 30, 40]}
                annotations.append({"id": number, **box})
    content = {
        "videos": [{"id": i, "file_name": name, "fps": 10} for i, name in enumerate(videos, 1)],
        "categories": [{"id": 1, "name": "sit"}],
        "images": images,
        "annotations": annotations,
    }
    path.write_text(json.dumps(content))
    return path


def tubes_pickle(path: Path, starts: dict[str, list[tuple[int, int, int]]], frames: int = 100) -> Path:
    """A pickle of tubes: video -> (class, first frame from 1, frames), whose left edge is the frame's number in pixels."""
    made = {}
    for video, tubes in starts.items():
        made[video] = {}
        for action, first, count in tubes:
            tube = np.array([[f, f, 10, f + 20, 50] for f in range(first, first + count)], np.float64)
            made[video].setdefault(action, []).append(tube)
    content = {
        "labels": ["serve", "block", "pass"],
        "resolution": dict.fromkeys(starts, (100, 1000)),
        "nframes": dict.fromkeys(starts, frames),
        "train_videos": [list(starts)],
        "test_videos": [[]],
        "gttubes": made,
    }
    path.write_bytes(pickle.dumps(content))
    return path


def test_only_suffixes_of_videos_are_taken_away(tmp_path: Path) -> None:
    names = ["1.1.1", "1.1.2", "day.1/x.MP4", "a.b.mkv", "v1.0"]
    file = coco(tmp_path / "x.json", names, [[0]] * len(names))
    convert("convert_coco_video", file, "--output", tmp_path / "x.csv")
    found = sorted({row.video_id for row in read_ground_truth(str(tmp_path / "x.csv"))})
    assert found == sorted(["1.1.1", "1.1.2", "day.1/x", "a.b", "v1.0"])


def test_videos_that_would_melt_into_one_are_refused(tmp_path: Path, capsys) -> None:
    file = coco(tmp_path / "x.json", ["a.mp4", "a.avi"], [[0], [0]])
    with pytest.raises(SystemExit, match="2"):
        convert("convert_coco_video", file, "--output", tmp_path / "x.csv")
    error = capsys.readouterr().err
    assert error.count("\n") == 1 and "a.mp4" in error and "a.avi" in error
    assert not (tmp_path / "x.csv").exists()


def test_frames_of_nobody_stay_key_frames(tmp_path: Path, capsys) -> None:
    file = coco(tmp_path / "x.json", ["cam1.mp4"], [[0, 10]], [[20, 25]])
    convert("convert_coco_video", file, "--output", tmp_path / "x.csv", "--step", 10)
    lines = (tmp_path / "x.csv").read_text().splitlines()
    assert [line for line in lines if ",,,," in line] == ["cam1,2.000,,,,,,"] and len(lines) == 3
    assert "1 key frame without people" in capsys.readouterr().out


def test_short_instances_are_counted_or_get_a_key_frame(tmp_path: Path, capsys) -> None:
    tubes = {"v": [(0, 20, 20), (1, 30, 20), (2, 55, 15)]}
    file = tubes_pickle(tmp_path / "gt.pkl", tubes)
    convert("convert_tubes", file, "--output", tmp_path / "plain")
    said = capsys.readouterr().err
    assert "2 of 3 instances have no key frame and 2 of 3 classes no row" in said and "--step" in said
    assert {row.action_id for row in read_ground_truth(str(tmp_path / "plain" / "train.csv"))} == {1}
    convert("convert_tubes", file, "--output", tmp_path / "all", "--every-instance")
    rows = read_ground_truth(str(tmp_path / "all" / "train.csv"))
    assert {row.action_id for row in rows} == {1, 2, 3}
    assert "no key frame" not in capsys.readouterr().err
    # The frame in the middle of the third one, 62 from 1, and its own box.
    (third,) = [row for row in rows if row.action_id == 3]
    assert third.timestamp == pytest.approx(61 / 25, abs=5e-4) and third.box[0] == pytest.approx(0.062)


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.tuples(st.integers(0, 2), st.integers(1, 200), st.integers(1, 60)), min_size=1, max_size=8),
    st.integers(1, 40),
)
def test_every_instance_has_a_row_where_asked(found: list[tuple[int, int, int]], step: int) -> None:
    boxes = {
        action: [
            np.array([[f, 1, 1, 5, 5] for f in range(a, a + n)], float) for c, a, n in found if c == action
        ]
        for action in {c for c, _, _ in found}
    }
    content = {"resolution": {"v": (10, 10)}, "gttubes": {"v": boxes}}
    for every in (False, True):
        tally = Tally()
        rows = list(tube_labels(content, ["v"], Timing(Clock(fps=25.0), step, every), tally))
        # By brute force: on the key frames of a step, all instances shown there have a row.
        keys = {round(row.timestamp * 25) for row in rows}
        shown = sum(1 for _, a, n in found for f in range(a - 1, a - 1 + n) if f in keys)
        assert len(rows) == shown and tally.instances == len(found)
        missed = sum(all(f % step for f in range(a - 1, a - 1 + n)) for _, a, n in found)
        assert tally.without_row == (0 if every else missed)


@pytest.mark.parametrize("rate", [Fraction(30), Fraction(30000, 1001), Fraction(12)])
def test_times_are_those_of_the_file(tmp_path: Path, rate: Fraction, capsys) -> None:
    (tmp_path / "videos" / "clips").mkdir(parents=True)
    times = write_numbered_video(tmp_path / "videos" / "clips" / "a.mp4", 60, rate)
    file = tubes_pickle(tmp_path / "gt.pkl", {"clips/a": [(0, 1, 60)]}, frames=60)
    folder = tmp_path / "ann"
    convert("convert_tubes", file, "--output", folder, "--videos", tmp_path / "videos", "--step", 20)
    rows = sorted(read_ground_truth(str(folder / "train.csv")), key=lambda row: row.timestamp)
    # The left edge is the frame's number from 1 in a picture 1000 pixels wide.
    frames = [round(row.box[0] * 1000) - 1 for row in rows]
    assert frames == [0, 20, 40]
    assert [row.timestamp for row in rows] == pytest.approx([times[frame] for frame in frames], abs=6e-4)
    assert "taken to have" not in capsys.readouterr().err


def test_a_file_of_another_length_is_told(tmp_path: Path, capsys) -> None:
    (tmp_path / "videos").mkdir()
    write_numbered_video(tmp_path / "videos" / "a.mp4", 40, Fraction(25))
    file = tubes_pickle(tmp_path / "gt.pkl", {"a": [(0, 1, 90)]}, frames=90)
    flags = ("--output", tmp_path / "ann", "--videos", tmp_path / "videos")
    convert("convert_tubes", file, *flags)
    assert "a: 90 frames in the annotations, 40 in the file" in capsys.readouterr().err
    # Frames behind the end of the file have no time, so no row.
    rows = read_ground_truth(str(tmp_path / "ann" / "train.csv"))
    assert [row.timestamp for row in rows] == [0.0, 1.0]


def test_rates_by_csv_and_what_is_assumed(tmp_path: Path, capsys) -> None:
    file = tubes_pickle(tmp_path / "gt.pkl", {"a": [(0, 1, 60)], "b": [(0, 1, 60)]})
    (tmp_path / "fps.csv").write_text("a,50\nb,12.5\n")
    convert("convert_tubes", file, "--output", tmp_path / "ann", "--fps", tmp_path / "fps.csv")
    rows = read_ground_truth(str(tmp_path / "ann" / "train.csv"))
    times = {video: [r.timestamp for r in rows if r.video_id == video] for video in "ab"}
    assert times == {"a": [0.0, 0.5, 1.0], "b": [0.0, 2.0, 4.0]}
    (tmp_path / "part.csv").write_text("a,50\n")
    with pytest.raises(SystemExit, match="2"):
        convert("convert_tubes", file, "--output", tmp_path / "other", "--fps", tmp_path / "part.csv")
    assert "part.csv: no row of video 'b'" in (error := capsys.readouterr().err) and "layout" not in error
    assert not (tmp_path / "other").exists()


def test_a_part_of_ucf24_keeps_the_ids_of_the_whole(tmp_path: Path) -> None:
    boxes = np.array([[32, 24, 64, 120]] * 30)
    labels = {"Basketball": 0, "Biking": 2, "WalkingWithDog": 23}
    for kept in (list(labels), ["Biking", "WalkingWithDog"]):
        content = {
            f"{name}/v_{name}_g01_c01": {
                "annotations": [{"sf": 0, "ef": 30, "label": labels[name], "boxes": boxes}]
            }
            for name in kept
        }
        folder = tmp_path / str(len(kept))
        folder.mkdir()
        (folder / "pyannot.pkl").write_bytes(pickle.dumps(content))
        (folder / "test.txt").write_text(f"{kept[-1]}/v_{kept[-1]}_g01_c01.avi\n")
        convert(
            "convert_ucf24", folder / "pyannot.pkl", "--test-list", folder / "test.txt", "--output", folder
        )
        assert read_label_map(str(folder / "labels.txt"))[0] == {labels[n] + 1: n for n in kept}
        (action,) = {row.action_id for row in read_ground_truth(str(folder / "val.csv"))}
        assert action == labels[kept[-1]] + 1


YOUTUBE_VIS = {
    "videos": [
        {"id": 1, "width": 100, "height": 100, "length": 2, "file_names": ["v1/00000.jpg", "v1/00001.jpg"]}
    ],
    "categories": [{"id": 1, "name": "sit"}],
    "annotations": [{"id": 1, "video_id": 1, "category_id": 1, "bboxes": [[10, 20, 30, 40], None]}],
}
CVAT_COCO = {
    "categories": [{"id": 1, "name": "sit"}],
    "images": [{"id": 1, "width": 100, "height": 100, "file_name": "frame_000030.PNG"}],
    "annotations": [
        {"id": 1, "image_id": 1, "category_id": 1, "bbox": [10, 20, 30, 40], "attributes": {"track_id": 7}}
    ],
}


def test_json_of_youtube_vis_and_of_cvat(tmp_path: Path) -> None:
    (tmp_path / "yv.json").write_text(json.dumps(YOUTUBE_VIS))
    convert("convert_coco_video", tmp_path / "yv.json", "--output", tmp_path / "yv.csv")
    first, second = (tmp_path / "yv.csv").read_text().splitlines()
    assert first.split(",")[:2] == ["v1", "0.000"] and second == "v1,0.033,,,,,,"
    assert [float(v) for v in first.split(",")[2:6]] == [0.1, 0.2, 0.4, 0.6]
    (tmp_path / "clip7.json").write_text(json.dumps(CVAT_COCO))
    convert("convert_coco_video", tmp_path / "clip7.json", "--output", tmp_path / "cvat.csv")
    (row,) = read_ground_truth(str(tmp_path / "cvat.csv"))
    assert (row.timestamp, row.action_id, row.person_id) == (1.0, 1, 7)
    assert row.box == pytest.approx((0.1, 0.2, 0.4, 0.6))


@pytest.mark.parametrize("content", [{"images": []}, {"annotations": [], "info": {}}, [], {"shapes": []}])
def test_json_of_no_known_kind_names_the_layouts(tmp_path: Path, capsys, content: object) -> None:
    (tmp_path / "x.json").write_text(json.dumps(content))
    with pytest.raises(SystemExit, match="2"):
        convert("convert_coco_video", tmp_path / "x.json", "--output", tmp_path / "x.csv")
    error = capsys.readouterr().err
    assert error.count("\n") == 1 and "Error '" not in error and "x.json" in error
    assert not (tmp_path / "x.csv").exists()
