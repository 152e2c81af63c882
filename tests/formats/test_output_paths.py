"""An output that is an input is refused, whatever it is called."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest
from loading import load_script

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
