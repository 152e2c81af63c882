"""The evaluation tool as its users call it."""

from __future__ import annotations

import json
import math
from pathlib import Path
from types import ModuleType

import pytest
from loading import load_script
from shared_data import ROOT, shared_data

CASES = sorted(p.name for p in (ROOT / "ava_eval_cases").glob("[0-9]*")) or ["01_basic"]
VARIANT = {"activitynet": "anet_head", "slowfast": "slowfast"}
LABELS = '  name: "stand"\n  id: 12\n'


@pytest.fixture(scope="module")
def tool() -> ModuleType:
    return load_script("tools/evaluate_ava.py")


@pytest.mark.parametrize("protocol", VARIANT)
@pytest.mark.parametrize("case", CASES)
def test_case(tool: ModuleType, case: str, protocol: str, tmp_path: Path) -> None:
    folder = shared_data("ava_eval_cases", case)
    want = json.loads((folder / "expected.json").read_text())["official"][VARIANT[protocol]]
    flags = ["--groundtruth", folder / "groundtruth.csv", "--detections", folder / "detections.csv"]
    flags += ["--labelmap", folder / "labelmap.pbtxt", "--exclude", folder / "excluded_timestamps.csv"]
    flags += ["--protocol", protocol, "--output", tmp_path / "new" / "figures.json"]
    if want["error"]:
        with pytest.raises(SystemExit, match="2"):
            tool.main([str(f) for f in flags])
        return
    tool.main([str(f) for f in flags])
    got = json.loads((tmp_path / "new" / "figures.json").read_text())
    pairs = [(got["mAP"], want.get("mAP_stable_argsort", want["mAP"]))]
    for key, c in want["per_class"].items():
        pairs.append((got["per_class"][key]["ap"], c.get("ap_stable_argsort", c["ap"])))
        assert got["per_class"][key]["num_gt"] == c["num_gt"]
        assert got["per_class"][key]["name"] == c["name"]
    assert all(a is b if a is None or b is None else math.isclose(a, b, abs_tol=1e-9) for a, b in pairs)


def test_stricter_overlaps_by_hand(
    tool: ModuleType, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name, text in (("gt", "v,1,0,0,1,1,12\n"), ("det", "v,1,0,0,1,0.8,12,0.9\n"), ("map", LABELS)):
        (tmp_path / name).write_text(text)
    files = {"groundtruth": "gt", "detections": "det", "labelmap": "map", "output": "out.json"}
    flags = [part for name, file in files.items() for part in (f"--{name}", str(tmp_path / file))]
    tool.main([*flags, "--stricter-ious"])
    # IoU 0.8 is reached at 7 of the 10 thresholds.
    assert "frame-mAP75 (activitynet): 100.00\nframe-mAP50:95 (activitynet): 70.00" in capsys.readouterr().out
    figures = json.loads((tmp_path / "out.json").read_text())
    assert figures["mAP75"] == 1 and figures["mAP50:95"] == pytest.approx(0.7)


@pytest.mark.parametrize(
    "gt, det, said",
    [
        ("v,1,0,0,1,1,12", "v,1,0,0,1,1,12,x", "detections.csv, row 1: score is 'x'"),
        (
            "v,1,0,0,1,1,12",
            "v,1,0,0,1,1,12,0.5\n\nv,1,0,0,1,1,12,0.5",
            "detections.csv, row 2: an empty line",
        ),
        ("v,1,0,0,1,1,12\nv,1,0,0,1", "", "groundtruth.csv, row 2: 5 columns"),
        ("v,one,0,0,1,1,12", "", "groundtruth.csv, row 1: timestamp is 'one'"),
        ("video,time,x1,y1,x2,y2,id\nv,1,0,0,1,1,12", "", "remove the header row"),
        ("v,1,0,0,1,1,12", "v;1;0;0;1;1;12;0.5", "detections.csv, row 1: 1 columns; write video,timestamp"),
        ("v,1,0,0,1,1,12", "v,1,,,,,", "detections.csv, row 1: x1 is ''"),
        ("v,1,0,0,1,1,12", "v,1,0,0,1,1,12,nan", "detections.csv, row 1: score is 'nan'"),
        ("v,1,0,0,1,1,12", "v,1,0,0,1,1,1.0,0.5", "detections.csv, row 1: action id is '1.0'"),
        ("v,1,0,0,1,1,12.5", "", "groundtruth.csv, row 1: action id is '12.5'"),
        ("v,1,0,0,nan,1,12", "", "groundtruth.csv, row 1: x2 is 'nan'"),
        ("v,2,0.5,0,0.2,1,12\nv,1,0.6,0,0.3,1,12", "v,1,0,0,1,1,12,0.5", "as are others; x,y,width,height?"),
        ("v,2,0,0,1,1,12\nv,1,1,0,0,1,12", "v,1,0,0,1,1,12,0.5", "groundtruth.csv, row 2: box"),
        ("\xff", "", "not UTF-8"),
        (None, "", "groundtruth.csv: can't be read"),
    ],
)
def test_malformed_input(
    tool: ModuleType, tmp_path: Path, capsys: pytest.CaptureFixture[str], gt: str | None, det: str, said: str
) -> None:
    files = {"groundtruth": gt, "detections": det, "labelmap": LABELS}
    flags = []
    for name, text in files.items():
        if text is not None:
            (tmp_path / f"{name}.csv").write_text(text, encoding="latin-1")
        flags += [f"--{name}", str(tmp_path / f"{name}.csv")]
    with pytest.raises(SystemExit) as stop:
        tool.main(flags)
    assert stop.value.code == 2
    error = capsys.readouterr().err
    assert said in error
    assert error.count("\n") == 1


def test_summary_explains_zero(tool: ModuleType, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "g.csv").write_text("v,0902,0,0,1,1,12,0\n")
    (tmp_path / "d.csv").write_text("v,0002,0,0,1,1,12,0.5\n")
    (tmp_path / "l").write_text(LABELS)
    (tmp_path / "e.csv").write_text("v,0001\n")
    flags = ["--groundtruth", "g.csv", "--detections", "d.csv", "--labelmap", "l", "--exclude", "e.csv"]
    tool.main([f if f.startswith("-") else str(tmp_path / f) for f in flags])
    out = capsys.readouterr().out
    assert "frame-mAP@0.5 (activitynet): 0.00 over 1 classes" in out
    assert "adding 900 s to those of the detections would match 100 % of them" in out
    assert "no exclusions" in out


def test_report(tool: ModuleType, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = shared_data("ucf24_mini")
    gt, det = folder / "annotations" / "val.csv", tmp_path / "d.csv"
    rows = [line.split(",") for line in gt.read_text().splitlines()]
    det.write_text("".join(",".join([*r[:7], str(1 / (i + 2))]) + "\n" for i, r in enumerate(rows) if i % 3))
    flags = [
        "--groundtruth",
        gt,
        "--detections",
        det,
        "--labelmap",
        folder / "annotations" / "labelmap.pbtxt",
    ]
    flags += ["--report", tmp_path / "page", "--videos", folder / "videos"]
    tool.main([str(f) for f in flags])
    assert f"report: {tmp_path / 'page' / 'index.html'}" in capsys.readouterr().out
    text = (tmp_path / "page" / "index.html").read_text()
    assert text.count("data:image/jpeg;base64,") > 5
    assert "SkateBoarding" in text
