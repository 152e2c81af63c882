"""Converters on small files of each dataset's layout, with answers by hand."""

from __future__ import annotations

import json
import pickle
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from loading import load_script

from mestad_d2.data.prepare.convert import write_labels
from mestad_d2.errors import UserError
from mestad_d2.formats.ava_csv import AnnotationRow, read_ground_truth, read_label_map
from mestad_d2.video.folder import FrameFolder
from mestad_d2.video.frame_list import read_frame_list


def script(name: str) -> ModuleType:
    """A script of the datasets folder."""
    return load_script(f"datasets/{name}.py")


def rows(path: Path) -> list[tuple]:
    """Rows of a csv as our own reader sees them."""
    return [(r.video_id, r.timestamp, r.box, r.action_id, r.person_id) for r in read_ground_truth(str(path))]


def tubes(frames: range, box: list[float]) -> np.ndarray:
    """A tube that does not move."""
    return np.array([[frame, *box] for frame in frames], dtype=np.float32)


def dump(content: object, path: Path, protocol: int = 2) -> str:
    """Pickle, by default as Python 2 could."""
    path.write_bytes(pickle.dumps(content, protocol=protocol))
    return str(path)


@pytest.mark.parametrize("protocol", [2, 5])
def test_tubes(tmp_path: Path, protocol: int) -> None:
    content = {
        "labels": ["run", "jump"],
        "resolution": {"x/a": (100, 200), "b": (100, 200)},
        "nframes": {"x/a": 40, "b": 10},
        "train_videos": [["x/a"]],
        "test_videos": [["b", "c"]],
        "gttubes": {
            "x/a": {
                1: [tubes(range(1, 31), [20, 10, 60, 50])],
                0: [tubes(range(20, 41), [-10, 0, 100, 120])],
            },
            "b": {0: [tubes(range(11, 13), [0, 0, 100, 100]), tubes(range(11, 12), [5, 5, 5, 9])]},
        },
    }
    path = dump(content, tmp_path / "gt.pkl", protocol)
    script("convert_tubes").main([path, "--output", str(tmp_path), "--step", "10"])
    assert read_label_map(str(tmp_path / "labels.txt"))[0] == {1: "run", 2: "jump"}
    # Frames 1, 11, 21, 31 lie at 0, 0.4, 0.8, 1.2 s.
    assert rows(tmp_path / "train.csv") == [
        ("x/a", 0.0, (0.1, 0.1, 0.3, 0.5), 2, 1),
        ("x/a", 0.4, (0.1, 0.1, 0.3, 0.5), 2, 1),
        ("x/a", 0.8, (0.0, 0.0, 0.5, 1.0), 1, 0),
        ("x/a", 0.8, (0.1, 0.1, 0.3, 0.5), 2, 1),
        ("x/a", 1.2, (0.0, 0.0, 0.5, 1.0), 1, 0),
    ]
    assert rows(tmp_path / "val.csv") == [("b", 0.4, (0.0, 0.0, 0.5, 1.0), 1, 0)]


def test_ucf24(tmp_path: Path) -> None:
    box = np.array([[32, 24, 64, 120]] * 6)
    content = {
        "Biking/v_Biking_g01_c01": {"annotations": [{"sf": 2, "ef": 8, "label": 1, "boxes": box}], "numf": 9},
        "Basketball/v_Basketball_g01_c01": {"annotations": [{"sf": 0, "ef": 6, "label": 0, "boxes": box}]},
    }
    (tmp_path / "test.txt").write_text("Basketball/v_Basketball_g01_c01.avi\n")
    path = dump(content, tmp_path / "pyannot.pkl")
    script("convert_ucf24").main(
        [path, "--test-list", str(tmp_path / "test.txt"), "--output", str(tmp_path), "--step", "5"]
    )
    assert rows(tmp_path / "train.csv") == [("v_Biking_g01_c01", 0.2, (0.1, 0.1, 0.3, 0.6), 2, 0)]
    assert [r[1] for r in rows(tmp_path / "val.csv")] == [0.0, 0.2]
    assert read_label_map(str(tmp_path / "labels.txt"))[0] == {1: "Basketball", 2: "Biking"}


COCO = {
    "categories": [{"id": 0, "name": "run"}, {"id": 4, "name": "sit"}],
    "videos": [{"id": 7, "file_name": "day/a.mp4", "fps": 10}, {"id": 8, "name": "b"}],
    "images": [
        {"id": 1, "video_id": 7, "frame_id": 3, "width": 200, "height": 100},
        {"id": 2, "video_id": 8, "frame_index": 15, "width": 200, "height": 100},
    ],
    "annotations": [
        {"id": 1, "image_id": 1, "category_id": 0, "bbox": [20, 10, 40, 40], "track_id": 5},
        {"id": 2, "image_id": 2, "category_id": 4, "bbox": [0, 0, 100, 50]},
    ],
}


def test_coco_video(tmp_path: Path) -> None:
    (tmp_path / "x.json").write_text(json.dumps(COCO))
    script("convert_coco_video").main(
        [
            str(tmp_path / "x.json"),
            "--output",
            str(tmp_path / "x.csv"),
            "--label-map",
            str(tmp_path / "map.txt"),
        ]
    )
    assert rows(tmp_path / "x.csv") == [
        ("b", 0.5, (0.0, 0.0, 0.5, 0.5), 5, -1),
        ("day/a", 0.3, (0.1, 0.1, 0.3, 0.5), 1, 5),
    ]
    assert read_label_map(str(tmp_path / "map.txt"))[0] == {1: "run", 5: "sit"}


@pytest.mark.parametrize(
    "damage",
    [
        lambda c: c.pop("images"),
        lambda c: c["annotations"][0].update(bbox=[1, 2]),
        lambda c: c["annotations"][0].update(image_id=99),
        lambda c: c["images"][0].update(width=0),
        lambda c: c["categories"].append("x"),
    ],
)
def test_malformed_json_ends_in_one_line(
    tmp_path: Path, damage: Callable, capsys: pytest.CaptureFixture[str]
) -> None:
    content = json.loads(json.dumps(COCO))
    damage(content)
    (tmp_path / "x.json").write_text(json.dumps(content))
    with pytest.raises(SystemExit, match="2"):
        script("convert_coco_video").main([str(tmp_path / "x.json"), "--output", str(tmp_path / "x.csv")])
    assert capsys.readouterr().err.count("\n") == 1


def test_boxes_are_cut_and_empty_ones_counted(tmp_path: Path) -> None:
    boxes = [(-0.5, 0.2, 0.5, 1.7), (0.3, 0.3, 0.3, 0.6), (1.2, 0.1, 1.5, 0.2), (0.1, 0.1, 0.10001, 0.2)]
    labels = [AnnotationRow("a", 1.0, box, 1, i) for i, box in enumerate(boxes)]
    assert write_labels(labels, tmp_path / "x.csv") == (1, 3)
    assert rows(tmp_path / "x.csv") == [("a", 1.0, (0.0, 0.2, 0.5, 1.0), 1, 0)]


LIST = "original_vido_id video_id frame_id path labels\n"


def test_frame_lists_become_folders(tmp_path: Path) -> None:
    for index in (1, 2, 10):
        (tmp_path / f"p{index}.jpg").write_bytes(bytes([index]))
    (tmp_path / "list.csv").write_text(LIST + 'v 0 0 p1.jpg ""\nv 0 1 p10.jpg ""\nv 0 2 p2.jpg ""\n')
    flags = [str(tmp_path / "list.csv"), "--frames", str(tmp_path), "--output", str(tmp_path / "out")]
    script("convert_frame_list").main(flags)
    made = sorted((tmp_path / "out" / "v").iterdir())
    assert [path.name for path in made] == ["img_00001.jpg", "img_00002.jpg", "img_00003.jpg"]
    assert [path.read_bytes() for path in made] == [b"\x01", b"\x0a", b"\x02"]


@settings(max_examples=80, deadline=None)
@given(st.binary(max_size=80) | st.text(alphabet='v 0./\n"a', max_size=80).map(str.encode))
def test_frame_lists_raise_only_our_error(tmp_path_factory: pytest.TempPathFactory, content: bytes) -> None:
    path = tmp_path_factory.mktemp("fuzz") / "list.csv"
    path.write_bytes(content)
    try:
        found = read_frame_list(path, path.parent)
    except UserError as error:
        assert "\n" not in str(error)
    else:
        assert not any(".." in Path(f).parts for frames in found.values() for f in frames)
        for frames in found.values():
            folder = FrameFolder("root", frames)
            assert [folder.path(i) for i in range(len(folder))] == [f"root/{frame}" for frame in frames]
