"""Every figure that the published evaluators and linkers gave on the shared cases, by the tool's own command line."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pytest

from mestad_d2.evaluation.tubes.errors import frame_errors, video_errors
from mestad_d2.evaluation.tubes.frame_map import frame_mabo
from mestad_d2.evaluation.tubes.overlap import tube_iou
from mestad_d2.evaluation.tubes.protocols import get_protocol
from mestad_d2.formats.tubes.csv_files import read_dataset, read_frames, read_tubes
from tests.shared_data import ROOT, shared_data
from tools.evaluate_tubes import main

NAMES = sorted(p.name for p in (ROOT / "tube_cases").glob("[0-9]*")) or ["absent"]
LINKED_UNDER = {"act": "act", "moc": "act", "mma": "multisports", "yow": "yowov2", "gur": "gurkirt"}


@pytest.fixture(params=NAMES)
def case(request: pytest.FixtureRequest) -> Path:
    return shared_data("tube_cases", request.param)


def expected(case: Path) -> dict:
    return json.loads((case / "expected.json").read_text())


def same(figure: dict, wanted: dict) -> bool:
    """Equal within 1e-4; where the published code raises, so must we say, and still give a figure."""
    if "error" in wanted:
        return bool(figure.get("error")) and "mean" in figure
    close = all(
        (v is None and figure["per_class"][c] is None)
        or (v is not None and abs(v - figure["per_class"][c]) < 1e-4)
        for c, v in wanted["per_class"].items()
    )
    return close and "error" not in figure and abs(figure["mean"] - wanted["mean"]) < 1e-4


def run(case: Path, output: Path, *more: str) -> dict:
    main(
        [
            "--groundtruth",
            f"{case}/gt_tubes.csv",
            "--case",
            f"{case}/case.json",
            "--output",
            str(output),
            *more,
        ]
    )
    return json.loads(output.read_text())


def frames_of(case: Path) -> str:
    return str(next(case / n for n in ("det_frames.csv", "tubelets.csv") if (case / n).exists()))


def test_evaluators(case: Path, tmp_path: Path) -> None:
    answers, checked = expected(case), 0
    for who in {*answers.get("video_mAP", {}), *answers["frame_mAP@0.5"]}:
        tubes = ["--detections", f"{case}/det_tubes.csv"] if (case / "det_tubes.csv").exists() else []
        figures = run(case, tmp_path / "j.json", "--protocol", who, "--frames", frames_of(case), *tubes)
        for threshold, wanted in answers.get("video_mAP", {}).get(who, {}).items():
            assert same(figures["video_mAP"][threshold], wanted), (who, threshold)
            checked += 1
        if who in answers["frame_mAP@0.5"]:
            assert same(figures["frame_mAP"]["0.5"], answers["frame_mAP@0.5"][who]), who
            checked += 1
    assert checked


def test_linkers(case: Path, tmp_path: Path) -> None:
    linkers = {who: v for who, v in expected(case).get("linkers", {}).items() if isinstance(v, dict)}
    if not linkers:
        pytest.skip("nothing to link in this case")
    dataset = read_dataset(case / "case.json")
    for who, answer in linkers.items():
        tubes = tmp_path / "tubes.csv"
        more = ["--link", who, "--protocol", LINKED_UNDER[who[:3]], "--write-tubes", str(tubes)]
        figures = run(case, tmp_path / "j.json", "--frames", frames_of(case), *more)
        for threshold, wanted in next(v for k, v in answer.items() if k.startswith("video_mAP")).items():
            assert same(figures["video_mAP"][threshold], wanted), (who, threshold)
        got = read_tubes(tubes, dataset.names)
        wanted = read_tubes(case / answer["file"], dataset.names)
        assert sorted(zip(got.video, got.label, got.name, strict=True)) == sorted(
            zip(wanted.video, wanted.label, wanted.name, strict=True)
        ), who
        for i, key in enumerate(zip(wanted.video, wanted.label, wanted.name, strict=True)):
            j = list(zip(got.video, got.label, got.name, strict=True)).index(key)
            a, b = slice(*wanted.start[i : i + 2]), slice(*got.start[j : j + 2])
            np.testing.assert_array_equal(wanted.frame[a], got.frame[b])
            np.testing.assert_allclose(wanted.boxes[a], got.boxes[b], atol=1.1e-3)
            assert abs(wanted.score[i] - got.score[j]) < 2e-6


def test_overlaps(case: Path) -> None:
    dataset, checked = read_dataset(case / "case.json"), 0
    truth = read_tubes(case / "gt_tubes.csv", dataset.names, truth=True)
    for who, triples in expected(case).get("st_iou", {}).items():
        found = read_tubes(case / "det_tubes.csv", dataset.names)
        for a, b, wanted in triples:
            pairs = [
                (i, j)
                for i in range(len(truth))
                for j in range(len(found))
                if (truth.name[i], found.name[j]) == (a, b)
                and (truth.video[i], truth.label[i]) == (found.video[j], found.label[j])
            ]
            if len(pairs) != 1:
                continue
            got = tube_iou(truth, found, *np.array(pairs).T, get_protocol(who).video)
            if isinstance(wanted, dict):
                assert got.error[0], (who, a, b)
            else:
                np.testing.assert_allclose(got.iou[0], math.nan if wanted is None else wanted, atol=1e-4)
            checked += 1
    if not checked:
        pytest.skip("no overlaps in this case")


def test_analyses(case: Path) -> None:
    extras = {k: v for k, v in expected(case).get("extras", {}).items() if "error" not in v}
    if not extras:
        pytest.skip("no analyses in this case")
    dataset = read_dataset(case / "case.json")
    truth = read_tubes(case / "gt_tubes.csv", dataset.names, truth=True)
    tubes = read_tubes(case / "det_tubes.csv", dataset.names)
    frames = read_frames(case / "det_frames.csv", dataset.names)
    for name, wanted in extras.items():
        protocol = get_protocol(name.split()[0])
        if "MABO" in name:
            got = frame_mabo(truth, frames, dataset.classes, protocol)
            figures = {"": {c: got.per_class[int(c)] for c in wanted["per_class"]}}
            wanted = {"": wanted["per_class"]}
        elif "frameAP_error" in name:
            figures = {
                k: v.per_class
                for k, v in frame_errors(truth, frames, dataset.classes, protocol).shares.items()
            }
        else:
            figures = {
                k: v.per_class
                for k, v in video_errors(truth, tubes, dataset.classes, protocol).shares.items()
            }
        for kind, by_class in wanted.items():
            for c, value in by_class.items():
                got = figures[kind][c] if kind == "" else figures[kind][int(c)]
                assert abs(got - value) < 1e-4, (name, kind, c)
