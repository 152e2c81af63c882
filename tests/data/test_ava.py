"""AVA csv to dataset dicts: hand-written files with known answers, and malformed ones."""

from __future__ import annotations

import logging
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numbered_video import write_numbered_video

from mestad_d2.data.ava import load_ava, load_unlabeled
from mestad_d2.data.check.dataset import check_dataset
from mestad_d2.errors import UserError
from mestad_d2.formats.ava_csv import read_exclusions, read_ground_truth, read_label_map

ROWS = """a,0001,0.1,0.25,0.5,0.75,3,0
a,0001,0.1,0.25,0.5,0.75,1,0
a,0001,0.5,0.5,1.0,1.0,2,1
a,0002,0.1,0.25,0.5,0.75,1,0
a,0005,0.1,0.25,0.5,0.75,1,0
"""


@pytest.fixture
def dataset(tmp_path: Path) -> Path:
    """One 7 s video with key frames at 1, 2 and 5 s."""
    (tmp_path / "videos").mkdir()
    write_numbered_video(tmp_path / "videos" / "a.mp4", 175, Fraction(25))
    (tmp_path / "gt.csv").write_text(ROWS)
    (tmp_path / "exclude.csv").write_text("a,0002\n")
    return tmp_path


def test_rows_of_one_person_are_merged(dataset: Path) -> None:
    dicts = load_ava(str(dataset / "videos"), str(dataset / "gt.csv"), start=0.0)
    assert [d["timestamp"] for d in dicts] == [1.0, 2.0, 5.0]
    first, second = dicts[0]["annotations"]
    assert first["action_ids"] == [1, 3] and first["person_id"] == 0
    assert first["bbox"] == pytest.approx([16, 16, 80, 48])
    assert second["action_ids"] == [2]
    assert (dicts[0]["height"], dicts[0]["width"]) == (64, 160)


@pytest.mark.parametrize("row", ["a,0003", "a,0003,,,,,", "a,0003,,,,,,"])
def test_key_frames_without_people(dataset: Path, row: str) -> None:
    # Spreadsheets put a mark before the first name.
    (dataset / "gt.csv").write_text("\ufeff" + ROWS + row + "\n", encoding="utf-8")
    dicts = load_ava(str(dataset / "videos"), str(dataset / "gt.csv"), start=0.0)
    assert [(d["timestamp"], len(d["annotations"])) for d in dicts] == [(1, 2), (2, 1), (3, 0), (5, 1)]


def test_excluded_key_frames_are_marked(dataset: Path) -> None:
    dicts = load_ava(str(dataset / "videos"), str(dataset / "gt.csv"), str(dataset / "exclude.csv"), 0.0)
    assert [d["excluded"] for d in dicts] == [False, True, False]


def test_unlabelled_stretches_by_hand(dataset: Path) -> None:
    dicts = load_unlabeled(str(dataset / "videos"), str(dataset / "gt.csv"), start=0.0, max_gap=1.5)
    found = [(d["left_timestamp"], d["right_timestamp"], d["interval"]) for d in dicts]
    assert found == [
        (None, 1.0, (0.0, 1.0)),
        (1.0, 2.0, (1.0, 2.0)),
        (2.0, None, (2.0, 3.0)),
        (None, 5.0, (4.0, 5.0)),
        (5.0, None, (5.0, 6.0)),
    ]
    assert len(dicts[1]["left"]) == 2 and len(dicts[1]["right"]) == 1 and dicts[0]["left"] == []


def test_excluded_key_frame_is_no_neighbour(dataset: Path) -> None:
    dicts = load_unlabeled(
        str(dataset / "videos"), str(dataset / "gt.csv"), str(dataset / "exclude.csv"), 0.0
    )
    assert all(2.0 not in (d["left_timestamp"], d["right_timestamp"]) for d in dicts)


def test_ava_start_follows_the_length_of_the_file(dataset: Path) -> None:
    (dataset / "gt.csv").write_text("a,0902,0.1,0.25,0.5,0.75,3,0\n")
    assert load_ava(str(dataset / "videos"), str(dataset / "gt.csv"), start=None)[0]["start"] == 900.0


def test_missing_videos_are_named(tmp_path: Path) -> None:
    (tmp_path / "gt.csv").write_text(ROWS)
    with pytest.raises(UserError, match=r"1 of 1 videos are missing \(a\)"):
        load_ava(str(tmp_path), str(tmp_path / "gt.csv"))


def test_kinetics_clips_tell_when_they_begin(dataset: Path) -> None:
    write_numbered_video(dataset / "videos" / "k_y-1_000012_000022.mp4", 250, Fraction(25))
    write_numbered_video(dataset / "videos" / "k_y-1_000100_000110.mp4", 25, Fraction(25))
    (dataset / "gt.csv").write_text("a,3,0.1,0.1,0.5,0.5,1,0\nk_y-1,17.5,0.1,0.1,0.5,0.5,1,0\n")
    dicts = load_ava(str(dataset / "videos"), str(dataset / "gt.csv"), start=0.0)
    assert [(d["start"], Path(d["file_name"]).name) for d in dicts] == [
        (0.0, "a.mp4"),
        (12.0, "k_y-1_000012_000022.mp4"),
    ]
    # A name that is the id itself says nothing of the kind.
    (dataset / "gt.csv").write_text("k_y-1_000012_000022,5,0.1,0.1,0.5,0.5,1,0\n")
    assert load_ava(str(dataset / "videos"), str(dataset / "gt.csv"), start=0.0)[0]["start"] == 0.0
    report = check_dataset(
        video_root=dataset / "videos",
        annotations=write_rows(dataset, "k_y-1,17.5,0.1,0.1,0.5,0.5,1,0\nk_y-1,5,0.1,0.1,0.5,0.5,1,0\n"),
        label_map=write_rows(dataset, "1: sit\n", "map.txt"),
    )
    assert [fault.kind for fault in report.faults] == ["outside_video"]


def write_rows(root: Path, text: str, name: str = "rows.csv") -> Path:
    """A file with that text."""
    (root / name).write_text(text)
    return root / name


@pytest.mark.parametrize("name", ["x" * 5000, "a\tb", "\u00fc", " a b "])
def test_odd_video_ids_are_only_missing(tmp_path: Path, name: str) -> None:
    (tmp_path / "gt.csv").write_text(f"{name},0001,0.1,0.1,0.5,0.5,1,0\n")
    with pytest.raises(UserError, match="1 of 1 videos are missing"):
        load_ava(str(tmp_path), str(tmp_path / "gt.csv"))


@pytest.mark.parametrize("name", ["../a", "/etc/passwd", "..", "x/../../a"])
def test_video_ids_stay_in_the_folder(tmp_path: Path, name: str) -> None:
    (tmp_path / "gt.csv").write_text(f"{name},0001,0.1,0.1,0.5,0.5,1,0\n")
    with pytest.raises(UserError, match="leaves the folder"):
        load_ava(str(tmp_path), str(tmp_path / "gt.csv"))


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ("a,1,0.1,0.1,0.5,0.5", "6 fields"),
        ("a,x,0.1,0.1,0.5,0.5,1,0", "timestamp 'x'"),
        ("a,1,nan,0.1,0.5,0.5,1,0", "coordinate 'nan'"),
        ("a,1,0.5,0.1,0.1,0.5,1,0", "empty box"),
        ("a,1,10,20,90,80,1,0", "pixels"),
        ("a,1,0.1,0.1,0.5,0.5,0,0", "ids start at 1"),
        ("a,1,0.1,0.1,0.5,0.5,1.5,0", "whole number"),
        ("a,1,0.1,0.1,0.5,0.5,1,0,sure", "confidence 'sure'"),
        ("a,1,0.1,0.1,0.5,0.5,1,0,1.5", "confidence 1.5"),
        ("a,1,0.1,0.1,0.5,0.5,1,0,0.5,x", "10 fields"),
    ],
)
def test_malformed_rows_name_file_and_row(tmp_path: Path, row: str, message: str) -> None:
    path = tmp_path / "gt.csv"
    path.write_text("a,1,0.1,0.1,0.5,0.5,1,0\n" + row + "\n")
    with pytest.raises(UserError, match=message) as error:
        read_ground_truth(str(path))
    assert "gt.csv: row 2" in str(error.value)


def test_rows_with_a_confidence_count_like_any_other_unless_it_is_forbidden(tmp_path: Path) -> None:
    plain, dense = tmp_path / "gt.csv", tmp_path / "dense.csv"
    plain.write_text("a,1,0.1,0.1,0.5,0.5,1,3\na,1.2,0.1,0.1,0.5,0.5,2,\n")
    dense.write_text("a,1,0.1,0.1,0.5,0.5,1,3,\na,1.2,0.1,0.1,0.5,0.5,2,,0.4211\n")
    rows = read_ground_truth(str(dense))
    assert [replace(row, confidence=None) for row in rows] == read_ground_truth(str(plain))
    assert [row.confidence for row in rows] == [None, 0.4211]
    with pytest.raises(UserError, match=r"dense\.csv: row 2: has a confidence.*--corrected"):
        read_ground_truth(str(dense), confidence=False)


@settings(max_examples=150, deadline=None)
@given(st.binary(max_size=200) | st.text(alphabet='a1,.-"\n{}:name id', max_size=120).map(str.encode))
def test_parsers_raise_only_our_error(tmp_path_factory: pytest.TempPathFactory, content: bytes) -> None:
    path = tmp_path_factory.mktemp("fuzz") / "file"
    path.write_bytes(content)
    for parse in (read_ground_truth, read_exclusions, read_label_map):
        try:
            parse(str(path))
        except UserError as error:
            assert "\n" not in str(error)


@pytest.mark.parametrize(
    ("times", "said"),
    [
        ("25 50 74", "frame numbers? Divide them by 25"),
        ("902 903", "check START"),
        ("1 8 9", "2 of 3 key frames"),
    ],
)
def test_key_frames_outside_their_videos(
    dataset: Path, times: str, said: str, caplog: pytest.LogCaptureFixture
) -> None:
    rows = [f"a,{time},0.1,0.25,0.5,0.75,1,0\n" for time in times.split()]
    (dataset / "gt.csv").write_text("".join(rows))
    (dataset / "exclude.csv").write_text("".join(f"a,{time}\n" for time in times.split() if float(time) > 7))
    logging.getLogger("mestad_d2").propagate = True
    paths = str(dataset / "videos"), str(dataset / "gt.csv")
    if "of" in said:
        assert len(load_ava(*paths, start=0.0)) == 3
        assert said in caplog.text and "a at 8, a at 9" in caplog.text
        caplog.clear()
        load_ava(*paths, str(dataset / "exclude.csv"), 0.0)
        assert not caplog.text
        return
    with pytest.raises(UserError) as error:
        load_ava(*paths, start=0.0)
    assert said in str(error.value) and "gt.csv" in str(error.value)
    # What is left out of training is no reason to stop it.
    (dataset / "gt.csv").write_text("".join([*rows, "a,2,0.1,0.25,0.5,0.75,1,0\n"]))
    load_ava(*paths, str(dataset / "exclude.csv"), 0.0)


def test_rows_of_one_box_are_one_person_whatever_their_ids_say(dataset: Path) -> None:
    box, near, far = "0.1,0.25,0.5,0.75", "0.1001,0.25,0.5,0.7504", "0.3,0.25,0.6,0.75"
    (dataset / "gt.csv").write_text(
        f"a,1,{box},1,0\na,1,{box},2,1\na,1,{near},3,0\na,1,{near},4,7\na,1,{far},5,0\na,1,{far},1,-1\n"
        f"a,2,{box},1,-1\na,2,{near},2,-1\na,2,{far},3,-1\na,2,{far},4,6\n"
    )
    dicts = load_ava(str(dataset / "videos"), str(dataset / "gt.csv"), start=0.0)
    found = [[(a["action_ids"], a["person_id"]) for a in d["annotations"]] for d in dicts]
    assert found == [[([1, 2, 3, 4], 0), ([1, 5], 0)], [([1], -1), ([2], -1), ([3, 4], 6)]]
    assert dicts[0]["annotations"][0]["bbox"] == pytest.approx([16, 16, 80, 48])
