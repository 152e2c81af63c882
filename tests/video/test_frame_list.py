"""A dataset straight from a frame list: the same clips as from folders, and faults named by row."""

from __future__ import annotations

import os
from pathlib import Path

import cv2
import pytest
from detectron2.data import DatasetCatalog, MetadataCatalog
from numbered_video import numbered_frame, read_number

from mestad_d2.data.catalog import register_ava_dataset, register_custom
from mestad_d2.data.check.dataset import check_dataset
from mestad_d2.data.frame_lookup import FrameLookup
from mestad_d2.errors import UserError
from mestad_d2.video.folder import FrameFolder
from mestad_d2.video.frame_list import FrameList, ListedVideo, open_folder, read_frame_list
from mestad_d2.video.frames import read_frames

HEADER = "original_vido_id video_id frame_id path labels\n"
BOX = "0.1,0.1,0.5,0.9,1,0"


def write_pictures(folder: Path, names: list[str]) -> None:
    """Picture k shows the number k."""
    for number, name in enumerate(names):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        cv2.imwrite(str(folder / name), numbered_frame(number))


def slowfast_list(videos: dict[str, list[str]]) -> str:
    lines = [
        f'{video} {index} {frame} {name} ""\n'
        for index, (video, names) in enumerate(videos.items())
        for frame, name in enumerate(names)
    ]
    return HEADER + "".join(lines)


@pytest.fixture
def files(tmp_path: Path) -> dict[str, Path]:
    """60 pictures in a folder that another video's picture lies in too, list, annotations and label map."""
    names = [f"all/a_{number:06d}.png" for number in range(1, 61)]
    write_pictures(tmp_path / "frames", names)
    write_pictures(tmp_path / "frames", ["all/b_000001.png"])
    files = {name: tmp_path / name for name in ("frames", "list.csv", "gt.csv", "labels.txt")}
    files["list.csv"].write_text(slowfast_list({"vid": names, "other": ["all/b_000001.png"]}))
    files["gt.csv"].write_text(f"vid,1,{BOX}\nvid,3.5,{BOX}\n")
    files["labels.txt"].write_text("1: stand\n")
    return files


def register(files: dict[str, Path], name: str) -> list[dict]:
    register_ava_dataset(
        name,
        video_root=files["frames"],
        annotations=files["gt.csv"],
        label_map=files["labels.txt"],
        fps=10.0,
        frame_list=files["list.csv"],
    )
    return DatasetCatalog.get(name)


def test_dataset(files: dict[str, Path]) -> None:
    dicts = register(files, "listed")
    assert [d["timestamp"] for d in dicts] == [1.0, 3.5]
    video = dicts[0]["source"]
    assert dicts[0]["fps"] == 10 and (dicts[0]["height"], dicts[0]["width"]) == (64, 160)
    assert video.duration == 6
    images = read_frames(video, [0.0, 1.0, 3.5, 99.0])
    assert [read_number(image) for image in images] == [0, 10, 35, 59]
    root = MetadataCatalog.get("listed").video_root
    assert read_number(FrameLookup(root, fps=10.0)("vid.mp4", 2.0)) == 20


def test_same_as_the_folder_of_the_pictures(tmp_path: Path) -> None:
    names = [f"v/v_{number:06d}.png" for number in (1, 2, 3, 6, 7)]
    write_pictures(tmp_path, names)
    (tmp_path / "list.csv").write_text(slowfast_list({"v": names}))
    listed = open_folder(ListedVideo(FrameList(str(tmp_path), str(tmp_path / "list.csv")), "v"))
    folder = FrameFolder(str(tmp_path / "v"))
    assert listed.places.tolist() == folder.places.tolist() == [0, 1, 2, 5, 6]
    assert [listed.path(i) for i in range(5)] == [folder.path(i) for i in range(5)]


def test_order_of_lines_where_numbers_do_not_ascend(tmp_path: Path) -> None:
    names = ["p/9.png", "p/3.png", "q/3.png"]
    write_pictures(tmp_path, names)
    (tmp_path / "list.csv").write_text(slowfast_list({"v": names}))
    listed = open_folder(ListedVideo(FrameList(str(tmp_path), str(tmp_path / "list.csv")), "v"))
    assert [read_number(image) for image in listed.read([0.0, 1.0, 2.0], fps=1.0)] == [0, 1, 2]


def test_mmaction2(files: dict[str, Path]) -> None:
    write_pictures(files["frames"], [f"some/vid/img_{number:05d}.png" for number in range(1, 51)])
    files["list.csv"].write_text("some/vid 45 2\n")
    files["gt.csv"].write_text(f"some/vid,1,{BOX}\n")
    (item,) = register(files, "listed_mmaction2")
    assert item["source"].duration == 4.5
    images = read_frames(item["source"], [1.0, 9.0])
    assert [read_number(image) for image in images] == [10, 44]


@pytest.mark.parametrize(
    ("row", "first", "count"),
    [
        ("vid 60 2", 1, 60),
        ("vid 45 2", 1, 45),
        ("vid 60 2 7", 1, 60),
        ("vid 10 50 1", 11, 50),
        ("vid 0 50 1", 1, 50),
        ("vid 30 20 3", 31, 20),
    ],
)
def test_mmaction2_with_an_offset(tmp_path: Path, row: str, first: int, count: int) -> None:
    """``folder offset total label`` of ``with_offset``; two labels behind the total of a folder stay labels."""
    for head in ("img", "flow_x", "flow_y"):
        write_pictures(tmp_path, [f"vid/{head}_{number:05d}.png" for number in range(1, 61)])
    (tmp_path / "list.txt").write_text(row + "\n")
    names = read_frame_list(tmp_path / "list.txt", tmp_path)["vid"]
    assert names == [f"vid/img_{number:05d}.png" for number in range(first, first + count)]


def test_a_row_of_an_unclear_folder_names_it(tmp_path: Path) -> None:
    write_pictures(tmp_path, [f"vid/{head}_{number}.png" for number in range(1, 6) for head in "ab"])
    (tmp_path / "list.txt").write_text("vid 5 1\n")
    with pytest.raises(UserError, match=r"list.txt: row 1: .*vid: pictures of several sequences, a_\*.png"):
        read_frame_list(tmp_path / "list.txt", tmp_path)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (HEADER + "v 0 0 a.jpg x y\n", "list.csv: row 2: 6 fields"),
        (HEADER + "v\n", "list.csv: row 2: 1 fields"),
        (HEADER + 'v 0 0 /etc/a.jpg ""\n', "list.csv: row 2: '/etc/a.jpg' leaves the folder of frames"),
        ("\n../v 0 0 a.jpg\n", r"list.csv: row 2: '\.\./v' leaves the folder of frames"),
        ("vid 45 2\n", "list.csv: row 1: 45 frames of 'vid', where 0 pictures are below .*frames"),
        ("all 62 2\n", "list.csv: row 1: 62 frames of 'all', where 60 pictures"),
        (HEADER + "v 0 0 " + 5000 * "1" + ' ""\n', "list.csv: row 2: '1{40}'... is too long for a path"),
        ("all 0 2\n", "list.csv: row 1: 0 frames of 'all'"),
        ("all 3 2\nall 3 1\n", "list.csv: row 2: 'all' stands there twice"),
        (HEADER, "list.csv: 1 of 1 videos are not in this frame list .vid.; add their frames"),
        (None, "list.csv: no frame list that can be read"),
    ],
)
def test_malformed_list_is_one_line(files: dict[str, Path], text: str | None, message: str) -> None:
    files["list.csv"].unlink()
    if text is not None:
        files["list.csv"].write_text(text)
    with pytest.raises(UserError, match=message) as caught:
        register(files, "listed_badly")
    assert "\n" not in str(caught.value)


def test_missing_picture(files: dict[str, Path]) -> None:
    (files["frames"] / "all/a_000011.png").unlink()
    video = register(files, "listed_gap")[0]["source"]
    with pytest.raises(UserError, match="a_000011.png: no picture that can be read"):
        read_frames(video, [1.0])


def test_check_finds_missing_pictures(files: dict[str, Path]) -> None:
    def faults() -> list[tuple[str, str]]:
        open_folder.cache_clear()
        report = check_dataset(
            video_root=FrameList(str(files["frames"]), str(files["list.csv"])),
            annotations=files["gt.csv"],
            label_map=files["labels.txt"],
            fps=10.0,
        )
        return [(fault.kind, fault.text) for fault in report.faults]

    assert faults() == []
    (files["frames"] / "all/a_000004.png").unlink()
    (files["frames"] / "all/a_000060.png").unlink()
    assert faults() == [
        ("missing_frames", f"2 pictures are not there, {files['frames']}/all/a_000004.png the first")
    ]


def test_check_names_the_row_of_a_malformed_list(files: dict[str, Path]) -> None:
    files["list.csv"].write_text(HEADER + "vid 0 0 a.jpg x y\n")
    root = FrameList(str(files["frames"]), str(files["list.csv"]))
    with pytest.raises(UserError, match="list.csv: row 2: 6 fields"):
        check_dataset(video_root=root, annotations=files["gt.csv"], label_map=files["labels.txt"])


def test_key_of_a_config(files: dict[str, Path]) -> None:
    from detectron2.config import get_cfg

    from mestad_d2 import add_mestad_config

    cfg = get_cfg()
    add_mestad_config(cfg)
    entry = {"NAME": "listed_config", "VIDEOS": str(files["frames"]), "FPS": 10.0}
    entry |= {"ANNOTATIONS": str(files["gt.csv"]), "LABEL_MAP": str(files["labels.txt"])}
    cfg.DATASETS.CUSTOM = [{**entry, "FRAME_LIST": str(files["list.csv"])}]
    register_custom(cfg)
    assert len(DatasetCatalog.get("listed_config")) == 2


def test_names_by_rule_are_not_kept(tmp_path: Path) -> None:
    """AVA's list has millions of them."""
    names = [f"v{i % 8}/v{i % 8}_{i // 8 + 1:06d}.jpg" for i in range(8000)]
    (tmp_path / "list.csv").write_text(HEADER + "".join(f'{name[:2]} 0 0 {name} ""\n' for name in names))
    frames = read_frame_list(tmp_path / "list.csv", tmp_path)
    folder = FrameFolder(os.fspath(tmp_path), frames["v3"])
    assert len(frames) == 8 and len(folder) == 1000 and folder._names is None
    assert folder.path(500) == str(tmp_path / "v3/v3_000501.jpg")
