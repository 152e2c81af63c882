"""Folders of frames in the namings people have, at any rate, and datasets that mix rates and beginnings."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
from detectron2.data import DatasetCatalog
from hypothesis import given, settings
from hypothesis import strategies as st
from numbered_video import numbered_frame, read_number

from mestad_d2.data.ava import load_ava, load_unlabeled
from mestad_d2.data.catalog import register_custom
from mestad_d2.data.check.dataset import check_dataset
from mestad_d2.data.mapper import ClipMapper
from mestad_d2.errors import UserError
from mestad_d2.load_config import setup_cfg
from mestad_d2.video.folder import FrameFolder
from mestad_d2.video.frames import read_frames
from mestad_d2.video.source import open_source

ROOT = Path(__file__).resolve().parents[2]


def write_frames(folder: Path, numbers: list[int], pattern: str = "img_{:05d}.png") -> None:
    """Pictures that show their number."""
    folder.mkdir(parents=True)
    for number in numbers:
        cv2.imwrite(str(folder / pattern.format(number)), numbered_frame(number))


@pytest.mark.parametrize(
    "pattern",
    [
        "clip_1_{:06d}.png",
        "img_{:05d}.png",
        "{}.png",
        "frame{:03d}_.png",
    ],
)
def test_names_that_follow_a_rule_are_not_kept(tmp_path: Path, pattern: str) -> None:
    numbers = [7, 8, 9, 10, 12, 99, 100, 101]
    write_frames(tmp_path / "v", numbers, pattern)
    folder = FrameFolder(str(tmp_path / "v"))
    assert folder._names is None
    assert folder.places.tolist() == [n - 7 for n in numbers]
    assert [read_number(cv2.imread(folder.path(i))) for i in range(len(folder))] == numbers


@settings(max_examples=40, deadline=None)
@given(
    st.lists(st.sampled_from(["a1", "a01", "1", "b", "ü2", "1_2", "01_02", "-3", "x" + "9" * 12]), min_size=1)
)
def test_any_names(tmp_path_factory: pytest.TempPathFactory, names: list[str]) -> None:
    root = tmp_path_factory.mktemp("names")
    for name in names:
        (root / f"{name}.jpg").touch()
    folder = FrameFolder(str(root))
    found = {Path(folder.path(i)).stem for i in range(len(folder))}
    # a1 and a01 are two of one name but for its number: a sequence, beside which single pictures are left out.
    assert found == ({"a1", "a01"} if {"a1", "a01"} <= set(names) else set(names))
    assert (np.diff(folder.places) > 0).all()


def write_names(folder: Path, *patterns: str, count: int = 6) -> None:
    """Empty pictures 1, 2 ... of each pattern."""
    folder.mkdir(exist_ok=True)
    for pattern in patterns:
        for number in range(1, count + 1):
            (folder / pattern.format(number)).touch()


@pytest.mark.parametrize(
    ("patterns", "kept"),
    [
        (["img_{:05d}.jpg", "flow_x_{:05d}.jpg", "flow_y_{:05d}.jpg"], "img_00003.jpg"),
        (["frame{:05d}.png", "flow_x_{:05d}.jpg"], "frame00003.png"),
        (["img_{:05d}.jpg", "other_{:05d}.jpg"], "img_00003.jpg"),
        (["v_{:06d}.jpg", "w_{:06d}.jpg"], "v_000003.jpg"),
        (["img_{:05d}.jpg", "._img_{:05d}.jpg", ".hidden{}.jpg"], "img_00003.jpg"),
        (["{:04d}.jpg", "depth{:04d}.png"], "0003.jpg"),
        (["a{:04d}.JPG"], "a0003.JPG"),
    ],
)
def test_one_sequence_is_one_video(tmp_path: Path, patterns: list[str], kept: str) -> None:
    write_names(tmp_path / "v", *patterns)
    for name in ("poster.jpg", "cover_1.png", "readme_2.txt"):
        (tmp_path / "v" / name).touch()
    folder = FrameFolder(str(tmp_path / "v"))
    assert len(folder) == 6 and Path(folder.path(2)).name == kept


@pytest.mark.parametrize(
    ("patterns", "named"),
    [
        (["{:04d}.jpg", "{:04d}.png"], r"\*\.jpg \(6\), \*\.png \(6\)"),
        (["cam1_{:04d}.jpg", "cam2_{:04d}.jpg"], r"cam1_\*\.jpg \(6\), cam2_\*\.jpg \(6\)"),
        (["flow_x_{}.jpg", "flow_y_{}.jpg"], r"flow_x_\*\.jpg \(6\), flow_y_\*\.jpg \(6\)"),
    ],
)
def test_several_sequences_are_named(tmp_path: Path, patterns: list[str], named: str) -> None:
    write_names(tmp_path / "x", *patterns)
    with pytest.raises(UserError, match=f"x: pictures of several sequences, {named}; leave one") as error:
        FrameFolder(str(tmp_path / "x"))
    assert "\n" not in str(error.value)


def test_rate_of_a_folder(tmp_path: Path) -> None:
    write_frames(tmp_path / "v", list(range(1, 61)))
    assert open_source(str(tmp_path / "v"), folder_fps=12.0).duration == 5.0
    frames = read_frames(str(tmp_path / "v"), [0.0, 1.0, 4.0], folder_fps=12.0)
    assert [read_number(frame) for frame in frames] == [1, 13, 49]


@pytest.fixture
def mixed(tmp_path: Path) -> Path:
    """Two folders, 15 and 25 frames a second, that begin at 0 and 10 s; key frames of each at its second 1."""
    write_frames(tmp_path / "v" / "a", list(range(1, 46)))
    write_frames(tmp_path / "v" / "b", list(range(1, 76)), "b_{:06d}.png")
    (tmp_path / "gt.csv").write_text("a,1,0.1,0.1,0.5,0.5,1,0\nb,11,0.1,0.1,0.5,0.5,1,0\n")
    (tmp_path / "map.txt").write_text("1: sit\n")
    (tmp_path / "fps.csv").write_text("a,15\nb,25\n")
    (tmp_path / "start.csv").write_text("a,0\nb,10\n")
    return tmp_path


def test_rates_and_beginnings_may_differ_in_a_dataset(mixed: Path) -> None:
    entry = {"NAME": "mixed", "VIDEOS": str(mixed / "v"), "ANNOTATIONS": str(mixed / "gt.csv")}
    entry |= {"LABEL_MAP": str(mixed / "map.txt")}
    cfg = setup_cfg(ROOT / "configs" / "Base-tiny.yaml", []).clone()
    cfg.defrost()
    cfg.INPUT.CLIP.NUM_FRAMES, cfg.INPUT.CLIP.SAMPLING_RATE, cfg.INPUT.CLIP.FPS = 3, 15, 30.0
    cfg.INPUT.MIN_SIZE_TEST = 64
    cfg.DATASETS.CUSTOM = [{**entry, "FPS": str(mixed / "fps.csv"), "START": str(mixed / "start.csv")}]
    register_custom(cfg)
    for item, rate in zip(DatasetCatalog.get("mixed"), (15, 25), strict=True):
        result = ClipMapper(cfg, False)(item, np.random.default_rng(0))
        shown = [read_number(frame) for frame in result["clip"].permute(1, 2, 3, 0).numpy()]
        assert shown == [1 + int(np.ceil(rate * time - 0.5)) for time in (0.5, 1.0, 1.5)]
    # The folder of 3 s counts as a cut file of AVA's.
    (mixed / "gt.csv").write_text("a,901,0.1,0.1,0.5,0.5,1,0\nb,902,0.1,0.1,0.5,0.5,1,0\n")
    cfg.DATASETS.CUSTOM = [{**entry, "START": "auto", "FPS": "25"}]
    register_custom(cfg)
    assert [(d["start"], d["fps"]) for d in DatasetCatalog.get("mixed")] == [(900.0, 25.0)] * 2
    cfg.DATASETS.CUSTOM = [{**entry, "FPS": [25]}]
    with pytest.raises(UserError, match="mixed: FPS"):
        register_custom(cfg)


def test_unlabelled_stretches_end_with_the_folder(mixed: Path) -> None:
    found = load_unlabeled(
        str(mixed / "v"), str(mixed / "gt.csv"), None, str(mixed / "start.csv"), 3.0, str(mixed / "fps.csv")
    )
    assert [d["interval"] for d in found] == [(0.0, 1.0), (1.0, 2.0), (10.0, 11.0), (11.0, 12.0)]


@pytest.mark.parametrize(
    ("text", "said"),
    [("a,15\n", "no row of video 'b'"), ("a,15\nb\n", "row 2: 1 fields"), ("a,15\na,25\n", "twice")]
    + [("a,x\n", "row 1: value 'x'"), ("a,0\nb,25\n", "0 frames per second")],
)
def test_malformed_rates(mixed: Path, tmp_path: Path, text: str, said: str) -> None:
    path = tmp_path / "other.csv"
    path.write_text(text)
    with pytest.raises(UserError, match=said) as error:
        load_ava(str(mixed / "v"), str(mixed / "gt.csv"), None, 0.0, str(path))
    assert "\n" not in str(error.value)
    report = check_dataset(
        video_root=mixed / "v",
        annotations=mixed / "gt.csv",
        label_map=mixed / "map.txt",
        start=mixed / "start.csv",
        fps=path,
    )
    assert {fault.kind for fault in report.faults} == {"setting"}


def test_a_folder_of_a_wrong_rate_is_too_short(mixed: Path) -> None:
    paths = {"video_root": mixed / "v", "annotations": mixed / "gt.csv", "label_map": mixed / "map.txt"}
    assert not check_dataset(**paths, start=mixed / "start.csv", fps=mixed / "fps.csv").faults
    (mixed / "gt.csv").write_text("a,2.9,0.1,0.1,0.5,0.5,1,0\n")
    assert {f.kind for f in check_dataset(**paths, fps=30.0).faults} == {"outside_video"}
    assert not check_dataset(**paths, fps=15.0).faults
