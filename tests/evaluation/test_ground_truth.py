"""The evaluator's ground truth: the loaders' reader, and the published evaluators' rows on files that they accept."""

from __future__ import annotations

import logging
from pathlib import Path

import numpy as np
import pytest
from detectron2.data import MetadataCatalog
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from shared_data import ROOT

from mestad_d2.errors import UserError
from mestad_d2.evaluation.evaluator import AVAEvaluator
from mestad_d2.evaluation.frame_map.protocols import PROTOCOLS
from mestad_d2.evaluation.ground_truth import GroundTruth
from mestad_d2.evaluation.read_rows import read_rows

PLAIN = "a,0001,0.1,0.1,0.5,0.5,1,0\na,0001,0.1,0.1,0.5,0.5,2,0\na,0002,0.2,0.1,0.5,0.5,1,1\n"
# How people's files differ; each means the same.
LIKE_PLAIN = {
    "trailing commas": PLAIN.replace("\n", ",\n"),
    "many trailing commas": PLAIN.replace("\n", ",,,,\n"),
    "ids as floats": PLAIN.replace(",1,0", ",1.0,0.0")
    .replace(",2,0\n", ",2.0,0.0\n")
    .replace(",1,1\n", ",1.0,1.0\n"),
    "blank lines": PLAIN.replace("\n", "\n\n") + "\n",
    "lines of commas": PLAIN + ",,,,,,,\n",
    "blanks around": PLAIN.replace(",", " , ").replace("\n", " \n"),
    "whole seconds with decimals": PLAIN.replace("0001", "1.000").replace("0002", "2.0"),
    "quotes": PLAIN.replace("a,", '"a",'),
    "Windows": "\ufeff" + PLAIN.replace("\n", "\r\n"),
    "a confidence": PLAIN.replace(",0\n", ",0,0.9\n").replace(",1\n", ",1,\n"),
}


def same(a, b) -> bool:
    """Equal rows, frame names included."""
    names = ("frame", "boxes", "actions", "scores")
    return a.keys == b.keys and all(np.array_equal(getattr(a, n), getattr(b, n)) for n in names)


@pytest.mark.parametrize("protocol", PROTOCOLS)
@pytest.mark.parametrize("form", LIKE_PLAIN)
def test_what_the_loaders_read_is_judged(tmp_path: Path, form: str, protocol: str) -> None:
    (tmp_path / "plain.csv").write_text(PLAIN)
    (tmp_path / "gt.csv").write_text(LIKE_PLAIN[form], newline="")
    truth = GroundTruth(tmp_path / "gt.csv")
    assert truth.readable(PROTOCOLS[protocol])
    assert same(truth.rows(PROTOCOLS[protocol]), read_rows(tmp_path / "plain.csv", "gt", protocol))


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_empty_person_ids_count_as_no_eighth_column(tmp_path: Path, protocol: str) -> None:
    lines = [line.rpartition(",")[0] for line in PLAIN.splitlines()]
    (tmp_path / "gt.csv").write_text("".join(f"{line},\n" for line in lines))
    (tmp_path / "plain.csv").write_text("".join(f"{line}\n" for line in lines))
    rows = GroundTruth(tmp_path / "gt.csv").rows(PROTOCOLS[protocol])
    assert same(rows, read_rows(tmp_path / "plain.csv", "gt", protocol))


CASES = sorted((ROOT / "ava_eval_cases").glob("[0-9]*/groundtruth.csv"))


@pytest.mark.skipif(not CASES, reason="no ava_eval_cases in MESTAD_SHARED_DATA")
@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_rows_are_the_published_ones(protocol: str) -> None:
    read = 0
    for path in CASES:
        try:
            strict, truth = read_rows(path, "gt", protocol), GroundTruth(path)
        except UserError:
            continue
        read += 1
        assert same(truth.rows(PROTOCOLS[protocol]), strict), path
    assert read > len(CASES) // 3


ROWS = st.builds(
    "{},{},{},{},{},{}".format,
    st.sampled_from(["a", "b c", "-x"]),
    st.sampled_from(["0902", "902", "3", "0"]),
    st.sampled_from(["0.1,0.1,0.5,0.5", "0.25,0,1,1", "1e-2,.5,0.75,0.875"]),
    st.integers(1, 5),
    st.integers(-1, 3),
    st.just(""),
).map(lambda row: row.rstrip(","))


@settings(deadline=None, max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(rows=st.lists(ROWS, max_size=8), protocol=st.sampled_from(sorted(PROTOCOLS)))
def test_any_sound_file_is_read_as_published(tmp_path: Path, rows: list[str], protocol: str) -> None:
    (tmp_path / "gt.csv").write_text("".join(row + "\n" for row in rows))
    truth = GroundTruth(tmp_path / "gt.csv")
    assert same(truth.rows(PROTOCOLS[protocol]), read_rows(tmp_path / "gt.csv", "gt", protocol))


@pytest.fixture
def dataset(tmp_path: Path, request: pytest.FixtureRequest):
    name = f"truth_{request.node.name}"
    (tmp_path / "gt.csv").write_text(PLAIN)
    (tmp_path / "map").write_text("0: background\n1: sit\n2: stand\n")
    MetadataCatalog.get(name).set(
        ground_truth=str(tmp_path / "gt.csv"), label_map=str(tmp_path / "map"), exclude=None
    )
    yield name
    MetadataCatalog.pop(name)


@pytest.mark.parametrize(
    ("text", "kept"),
    [
        ("a,0.000,0.1,0.1,0.5,0.5,1,0\n", ["activitynet", "slowfast"]),
        (PLAIN + "a,3\nb,4,,,,,,\n", ["activitynet", "slowfast"]),
        (PLAIN + "a,3.48,0.1,0.1,0.5,0.5,1,0\n", ["activitynet"]),
    ],
)
def test_a_protocol_that_cannot_read_the_file_is_left_out(
    dataset: str, tmp_path: Path, text: str, kept: list[str], caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "gt.csv").write_text(text)
    logging.getLogger("mestad_d2").propagate = True
    with caplog.at_level(logging.INFO):
        results = AVAEvaluator(dataset).evaluate()
    assert ("mAP_slowfast" in results["frame_map"]) == ("slowfast" in kept)
    assert ("without protocol slowfast" in caplog.text) == ("slowfast" not in kept)
    assert "mAP" in AVAEvaluator(dataset, ["slowfast"]).evaluate()["frame_map"]


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        ("gt.csv", "video,time,x1,y1,x2,y2,a,p\n" + PLAIN, "gt.csv: row 1: column names"),
        ("gt.csv", "a;1;0.1;0.1;0.5;0.5;1;0\n", "separated by semicolons"),
        ("gt.csv", "a,1,0.1,0.1,0.5,0.5,9,0\n", "none of its action ids"),
        ("gt.csv", None, "gt.csv: no such file"),
        ("map", "0: sit\n1: stand\n", "map: line 1: id 0"),
        ("exclude.csv", "a\n", "exclude.csv: row 1: 1 fields"),
    ],
)
def test_all_files_are_read_when_the_evaluator_is_made(
    dataset: str, tmp_path: Path, name: str, text: str | None, said: str
) -> None:
    if name == "exclude.csv":
        MetadataCatalog.get(dataset).__dict__["exclude"] = str(tmp_path / name)
    if text is None:
        (tmp_path / name).unlink()
    else:
        (tmp_path / name).write_text(text)
    with pytest.raises(UserError) as error:
        AVAEvaluator(dataset)
    assert said in str(error.value) and "\n" not in str(error.value)


def test_two_ids_of_one_name_keep_their_own_figures(dataset: str, tmp_path: Path) -> None:
    (tmp_path / "map").write_text("1: sit\n2: sit\n")
    results = AVAEvaluator(dataset).evaluate()["frame_map"]
    assert {key for key in results if key.startswith("AP/")} == {"AP/sit (1)", "AP/sit (2)"}
