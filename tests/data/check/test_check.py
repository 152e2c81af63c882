"""The linter finds each planted fault, and nothing in a sound dataset."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import cv2
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numbered_video import numbered_frame, write_numbered_video

from mestad_d2.data.ava import load_ava
from mestad_d2.data.check.dataset import check_dataset, write_exclusions
from mestad_d2.data.check.report import EXCLUDABLE, KINDS
from mestad_d2.errors import UserError

NUM_CLASSES = 5
ROWS = "".join(
    f"{video},{second},0.1,0.2,0.5,0.6,1,0\n{video},{second},0.1,0.2,0.5,0.6,2,0\n"
    for video in ("a", "b", "frames")
    for second in ("0001", "2.5", "3")
)


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two 4 s videos and a folder of frames, with key frames at 1, 2.5 and 3 s."""
    root = tmp_path_factory.mktemp("sound")
    (root / "videos" / "frames").mkdir(parents=True)
    for name in "ab":
        write_numbered_video(root / "videos" / f"{name}.mkv", 100, Fraction(25))
    for index in range(1, 121):
        cv2.imwrite(str(root / "videos" / "frames" / f"img_{index:05d}.jpg"), numbered_frame(index))
    (root / "gt.csv").write_text(ROWS)
    (root / "map.txt").write_text("1: sit\n2: stand\n")
    (root / "exclude.csv").write_text("b,0001\n")
    return root


@pytest.fixture
def root(sound: Path, tmp_path: Path) -> Path:
    """A copy to damage."""
    return Path(shutil.copytree(sound, tmp_path / "copy"))


def check(root: Path) -> set[str]:
    """Kinds of faults found."""
    report = check_dataset(
        video_root=root / "videos",
        annotations=root / "gt.csv",
        label_map=root / "map.txt",
        exclude=root / "exclude.csv",
        start=root / "start.csv" if (root / "start.csv").exists() else 0.0,
        num_classes=NUM_CLASSES,
    )
    assert all("\n" not in fault.text for fault in report.faults)
    return {fault.kind for fault in report.faults}


def add(row: str) -> Callable[[Path], None]:
    """Plant a row."""

    def plant(root: Path) -> None:
        (root / "gt.csv").write_text(ROWS + row + "\n")

    return plant


def write(name: str, text: str) -> Callable[[Path], None]:
    """Replace a file."""

    def plant(root: Path) -> None:
        (root / name).write_text(text)

    return plant


def cut_in_half(root: Path) -> None:
    path = root / "videos" / "a.mkv"
    write_numbered_video(path, 400, Fraction(25), g="12")
    with (root / "gt.csv").open("a") as file:
        file.write("a,15,0.1,0.2,0.5,0.6,1,0\n")
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def large_id(root: Path) -> None:
    add("a,2,0.1,0.2,0.5,0.6,6,0")(root)
    write("map.txt", "1: sit\n2: stand\n6: run\n")(root)


def only_excluded_people(root: Path) -> None:
    write("gt.csv", "a,1,0.1,0.2,0.5,0.6,1,0\na,2\n")(root)
    write("exclude.csv", "a,1\n")(root)


def small_picture(root: Path) -> None:
    cv2.imwrite(str(root / "videos" / "frames" / "img_00120.jpg"), numbered_frame(0)[:32])


PLANTS: list[tuple[str, Callable[[Path], object]]] = [
    ("header", write("gt.csv", "video,time,x1,y1,x2,y2,action,person\n" + ROWS)),
    ("fields", add("a,2,0.1,0.2,0.5,0.6")),
    ("number", add("a,2,0.1,nan,0.5,0.6,1,0")),
    ("number", add("a,two,0.1,0.2,0.5,0.6,1,0")),
    ("pixels", add("a,2,12,20,60,64,1,0")),
    ("outside", add("a,2,0.1,0.2,0.5,1.3,1,0")),
    ("empty_box", add("a,2,0.5,0.2,0.1,0.6,1,0")),
    ("beside_picture", add("a,2,-0.5,0.2,-0.1,0.6,1,0")),
    ("nearly_equal", add("a,3,0.1001,0.2,0.5,0.6,1,0")),
    ("action_id", add("a,2,0.1,0.2,0.5,0.6,1e12,0")),
    ("person_id", add("a,2,0.1,0.2,0.5,0.6,1,1e30")),
    ("number", add("a,1e30,0.1,0.2,0.5,0.6,1,0")),
    ("number", add("a,1e400,0.1,0.2,0.5,0.6,1,0")),
    ("action_id", add("a,2,0.1,0.2,0.5,0.6,0,0")),
    ("num_classes", large_id),
    ("unknown_id", add("a,2,0.1,0.2,0.5,0.6,3,0")),
    ("person_id", add("a,2,0.1,0.2,0.5,0.6,1,anna")),
    ("confidence", add("a,2,0.1,0.2,0.5,0.6,1,0,1.2")),
    ("duplicate", add("a,3,0.1,0.2,0.5,0.6,1,0")),
    ("duplicate", add("a,3,0.1,0.2,0.5,0.6,1,0,0.9")),
    ("duplicate", add("a,03.0,0.10,0.2,0.5,6e-1,1,0")),
    ("person_twice", add("a,3,0.3,0.2,0.5,0.6,1,0")),
    ("no_rows", write("gt.csv", "")),
    ("no_rows", write("gt.csv", "a,1\nb,0001,,,,,,\n")),
    (
        "no_rows",
        write("exclude.csv", "".join(f"{v},{t}\n" for v in ("a", "b", "frames") for t in ("1", "2.5", "3"))),
    ),
    ("no_rows", only_excluded_people),
    ("label_map", write("map.txt", "a,1,0.1,0.2,0.5,0.6,1,0\n")),
    ("label_map", write("map.txt", "1: sit\n1: stand\n")),
    ("exclusions", write("exclude.csv", "z,0001\n")),
    ("exclusions", write("exclude.csv", "a\n")),
    ("video_id", add("../a,2,0.1,0.2,0.5,0.6,1,0")),
    ("setting", write("start.csv", "a,0\nframes,0\n")),
    ("missing_video", lambda root: (root / "videos" / "a.mkv").unlink()),
    ("missing_video", add("a.mkv,2,0.1,0.2,0.5,0.6,1,0")),
    ("unreadable_video", write("videos/a.mkv", "no video")),
    ("damaged_end", cut_in_half),
    ("outside_video", add("a,902,0.1,0.2,0.5,0.6,1,0")),
    ("frame_rate", lambda root: write_numbered_video(root / "videos" / "a.mkv", 20, Fraction(5))),
    ("missing_frames", lambda root: (root / "videos" / "frames" / "img_00050.jpg").unlink()),
    ("unequal_frames", small_picture),
]


@pytest.mark.parametrize(("kind", "plant"), PLANTS)
def test_each_planted_fault_is_found_alone(root: Path, kind: str, plant: Callable) -> None:
    plant(root)
    found = check(root)
    # Without rows the exclusions can't fit any.
    assert found - ({"exclusions"} if kind == "no_rows" else set()) == {kind}


# Found in all rows together, in two datasets or in other files; planted below and in test_check_splits.py.
TOGETHER = {"layout", "video_in_both", "class_only_in_test", "person_boxes", "tubes"}


def test_every_kind_is_planted() -> None:
    assert {kind for kind, _ in PLANTS} == set(KINDS) - TOGETHER


def test_boxes_as_corner_and_size_are_recognised(root: Path) -> None:
    rows = [f"a,{t},{x},0.3,0.2,0.4,1,{i}\n" for t in (1, 2) for i, x in enumerate((0.1, 0.5, 0.7))]
    (root / "gt.csv").write_text("".join(rows))
    assert {"layout", "empty_box"} <= check(root)
    with pytest.raises(UserError, match=r"gt.csv: row 2: empty box .*x,y,width,height"):
        load_ava(str(root / "videos"), str(root / "gt.csv"), start=0.0)


def test_boxes_that_might_be_corner_and_size_are_told(root: Path) -> None:
    rows = [
        f"a,{0.1 * t:.1f},{x},0.1,0.4,0.6,1,{i}\n" for t in range(1, 9) for i, x in enumerate((0.1, 0.2, 0.3))
    ]
    (root / "gt.csv").write_text("".join(rows))
    paths = {"video_root": root / "videos", "annotations": root / "gt.csv", "label_map": root / "map.txt"}
    report = check_dataset(**paths)
    assert not report.faults and "x,y,width,height?" in report.notes[0]
    (root / "gt.csv").write_text("".join(rows) + "a,1,0.5,0.4,0.9,0.9,1,5\n")
    assert not check_dataset(**paths).notes


def test_one_box_of_two_person_ids_is_told(root: Path) -> None:
    add("b,3,0.1,0.2,0.5,0.6,3,7")(root)
    write("map.txt", "1: sit\n2: stand\n3: run\n")(root)
    report = check_dataset(
        video_root=root / "videos", annotations=root / "gt.csv", label_map=root / "map.txt"
    )
    assert not report.faults and "1 row with the box of another person id" in report.notes[0]


def test_a_sound_dataset_has_no_faults(sound: Path) -> None:
    assert check(sound) == set()


def test_rows_with_a_confidence_are_sound(root: Path) -> None:
    add("a,2,0.1,0.2,0.5,0.6,1,0,0.9312")(root)
    assert check(root) == set()


@pytest.mark.parametrize("kind", EXCLUDABLE)
def test_the_written_exclusions_make_it_sound(root: Path, kind: str) -> None:
    next(plant for name, plant in PLANTS if name == kind)(root)
    paths = {"video_root": root / "videos", "annotations": root / "gt.csv", "label_map": root / "map.txt"}
    report = check_dataset(**paths, exclude=root / "exclude.csv")
    assert write_exclusions(report, root / "fixed.csv", root / "exclude.csv") == len(report.excludable) > 0
    assert not check_dataset(**paths, exclude=root / "fixed.csv").faults
    dicts = load_ava(str(root / "videos"), str(root / "gt.csv"), str(root / "fixed.csv"), 0.0)
    assert sum(not item["excluded"] for item in dicts) >= 5


@settings(max_examples=100, deadline=None)
@given(st.text(alphabet='ab,.-0123456789"\n', max_size=120), st.binary(max_size=60))
def test_only_our_error_on_any_text(sound: Path, rows: str, label_map: bytes) -> None:
    (sound / "fuzz.csv").write_text(rows)
    (sound / "fuzz.map").write_bytes(label_map)
    try:
        check_dataset(
            video_root=sound / "videos",
            annotations=sound / "fuzz.csv",
            label_map=sound / "fuzz.map",
            exclude=sound / "fuzz.csv",
        )
    except UserError as error:
        assert "\n" not in str(error)
