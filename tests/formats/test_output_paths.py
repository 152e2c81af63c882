"""An output that is an input is refused, whatever it is called."""

from __future__ import annotations

import os
import zipfile
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
from loading import load_script
from tiny import ROOT

from mestad_d2.errors import UserError
from mestad_d2.formats.output_paths import refuse_overwriting_inputs


def by_symlink(source: Path, target: Path) -> Path:
    target.symlink_to(source)
    return target


def by_hard_link(source: Path, target: Path) -> Path:
    os.link(source, target)
    return target


def by_linked_folder(source: Path, target: Path) -> Path:
    target.symlink_to(source.parent)
    return target / source.name


def by_dots(source: Path, target: Path) -> Path:
    return source.parent / "x" / ".." / source.name


@pytest.fixture
def refused(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Callable:
    """Runs a tool, which must say in one line that it would overwrite an input."""

    def run(tool: str, arguments: list[str]) -> None:
        module = load_script(tool)
        monkeypatch.setattr("sys.argv", [tool, *arguments])
        with pytest.raises(SystemExit, match="2"):
            module.main(module.parse()) if tool == "tools/visualize_tla.py" else module.main()
        error = capsys.readouterr().err.splitlines()[-1]
        assert error.startswith("error: ") and "would overwrite the input" in error, error

    return run


@pytest.mark.parametrize("name", [by_symlink, by_hard_link, by_linked_folder, by_dots])
def test_every_name_of_an_input_is_found(tmp_path: Path, name: Callable[[Path, Path], Path]) -> None:
    (tmp_path / "in" / "x").mkdir(parents=True)
    video = tmp_path / "in" / "my.mp4"
    video.write_bytes(b"precious")
    output = name(video, tmp_path / "out")
    with pytest.raises(UserError, match=r"would overwrite the input .*my\.mp4; name another --output"):
        refuse_overwriting_inputs([None, "", tmp_path / "absent", video], [None, tmp_path / "other", output])
    refuse_overwriting_inputs([video], [tmp_path / "other", tmp_path / "in" / "my.csv"])


@pytest.mark.parametrize("inside", ["", "my.mp4", "deep/er/my.png"])
def test_nothing_is_written_into_a_folder_of_frames(tmp_path: Path, inside: str) -> None:
    (tmp_path / "frames").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "frames")
    for root in ("frames", "link"):
        with pytest.raises(UserError, match="would overwrite the input"):
            refuse_overwriting_inputs([tmp_path / "frames"], [tmp_path / root / inside])
    refuse_overwriting_inputs([tmp_path / "frames"], [tmp_path / "frames_2", tmp_path])


@pytest.mark.parametrize(
    ("tool", "arguments"),
    [
        ("datasets/convert_coco_video.py", ["in.csv", "--output", "in.csv"]),
        ("datasets/convert_coco_video.py", ["in.csv", "--output", "new.csv", "--label-map", "in.csv"]),
        ("datasets/convert_tubes.py", ["labels.txt", "--output", "."]),
        ("datasets/convert_ucf24.py", ["in.csv", "--test-list", "val.csv", "--output", "."]),
        ("tools/evaluate_ava.py",
         ["--groundtruth", "in.csv", "--detections", "val.csv", "--labelmap", "labels.txt", "--output", "val.csv"]),
        ("tools/check_dataset.py",
         ["--annotations", "in.csv", "--videos", ".", "--label-map", "labels.txt", "--fix-exclude", "in.csv"]),
        ("tools/densify.py", ["--annotations", "in.csv", "--corrected", "val.csv", "--videos", ".", "--output",
                              "val.csv", "--overwrite"]),
        ("tools/densify.py", ["--annotations", "in.csv", "--config-file", "x.yaml", "--videos", ".", "--output",
                              "in.csv", "--overwrite"]),
        ("tools/evaluate_tubes.py", ["--groundtruth", "in.csv", "--detections", "val.csv", "--output", "val.csv"]),
        ("tools/evaluate_tubes.py", ["--groundtruth", "in.csv", "--detections", "val.csv", "--test-list",
                                     "labels.txt", "--write-tubes", "labels.txt"]),
    ],
)  # fmt: skip
def test_tools_refuse_before_they_write(
    tmp_path: Path, tool: str, arguments: list[str], monkeypatch: pytest.MonkeyPatch, capsys
) -> None:
    module = load_script(tool)
    monkeypatch.chdir(tmp_path)
    for name in ("in.csv", "labels.txt", "val.csv"):
        (tmp_path / name).write_text("1: precious\n")
    with pytest.raises(SystemExit, match="2"):
        module.main(arguments)
    error = capsys.readouterr().err
    assert error.count("\n") == 1 and "would overwrite the input" in error
    assert {path.name: path.read_text() for path in tmp_path.iterdir()} == {
        name: "1: precious\n" for name in ("in.csv", "labels.txt", "val.csv")
    }


def test_extraction_spares_a_video_under_another_name(tmp_path: Path, refused: Callable) -> None:
    (tmp_path / "a.mp4").write_bytes(b"precious")
    (tmp_path / "rates.csv").symlink_to("a.mp4")
    refused("datasets/extract_frames.py", ["--videos", str(tmp_path), "--output", str(tmp_path)])
    assert (tmp_path / "a.mp4").read_bytes() == b"precious" and len(list(tmp_path.iterdir())) == 2


def test_an_archive_of_lists_spares_the_checksums(tmp_path: Path, refused: Callable) -> None:
    lists = tmp_path / "annotations"
    lists.mkdir()
    (lists / "sums.txt").write_text(f"{'0' * 32}  film.mp4\n")
    with zipfile.ZipFile(lists / "ava_v2.2.zip", "w") as archive:
        archive.writestr("ava/sums.txt", "other")
    flags = ["--output", str(tmp_path), "--checksums", str(lists / "sums.txt"), "--versions", "2.2"]
    refused("datasets/prepare_ava.py", flags)
    assert (lists / "sums.txt").read_text().endswith("film.mp4\n")


@pytest.mark.parametrize("tool", ["visualize_data", "visualize_tla"])
def test_pictures_do_not_go_among_the_frames(tmp_path: Path, refused: Callable, tool: str) -> None:
    frames = tmp_path / "frames" / "a"
    frames.mkdir(parents=True)
    for number in range(1, 91):
        cv2.imwrite(str(frames / f"img_{number:05d}.png"), np.zeros((48, 64, 3), np.uint8))
    (tmp_path / "gt.csv").write_text("a,1,0.1,0.1,0.5,0.9,1,0\na,2,0.1,0.1,0.5,0.9,1,0\n")
    (tmp_path / "map.txt").write_text("1: sit\n")
    entry = {"NAME": "framed", "VIDEOS": str(tmp_path / "frames"), "ANNOTATIONS": str(tmp_path / "gt.csv")}
    options = ["DATASETS.CUSTOM", repr([entry | {"LABEL_MAP": str(tmp_path / "map.txt")}])]
    options += ["DATASETS.TRAIN", "('framed',)", "MODEL.ROI_ACTION_HEAD.NUM_CLASSES", "1"]
    options += ["SEMISUP.PSEUDO_LABELER", "TLA", "MODEL.WEIGHTS", str(tmp_path / "map.txt")]
    config = str(ROOT / "configs" / "Base-tiny.yaml")
    for output in (frames, frames / "deep", tmp_path / "map.txt"):
        refused(f"tools/{tool}.py", ["--config-file", config, "--output", str(output), *options])
    assert len(list(frames.iterdir())) == 90


def test_the_page_of_tables_is_none_of_the_results(tmp_path: Path, refused: Callable) -> None:
    (tmp_path / "table5_toy.json").write_text("{}")
    flags = ["--output", str(tmp_path), "--document", str(tmp_path / "table5_toy.json")]
    refused("tools/reproduce.py", flags)
    assert (tmp_path / "table5_toy.json").read_text() == "{}"


def test_the_real_clips_are_not_written_to(tmp_path: Path, refused: Callable) -> None:
    flags = ["--table", "5", "--strict", "--real", str(tmp_path), "--output", str(tmp_path / "out")]
    refused("tools/reproduce.py", flags)
    assert not any(tmp_path.iterdir())
