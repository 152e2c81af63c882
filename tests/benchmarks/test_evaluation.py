"""The generated files are sound, and the benchmark reports what it promises."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from mestad_d2.benchmarks import evaluation as benchmark_eval
from mestad_d2.benchmarks.synthetic_detections import write_ava_size
from mestad_d2.evaluation.read_rows import read_rows
from mestad_d2.formats.label_map import read_label_map


def test_generated_files(tmp_path: Path) -> None:
    gt, det, labels = write_ava_size(tmp_path, num_frames=300, num_rows=4000)
    ids = set(read_label_map(labels).names)
    assert len(ids) == 60
    for protocol in ("activitynet", "slowfast"):
        truth, found = read_rows(gt, "gt", protocol, ids), read_rows(det, "det", protocol, ids)
        assert len(truth.keys) == 300
        assert len(found) == 4000
        assert set(found.keys) <= set(truth.keys)
    assert (found.boxes >= 0).all() and (found.boxes <= 1).all()
    assert len(np.unique(found.scores)) > 3900


def test_benchmark(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(benchmark_eval, "time_tool", lambda *files: {"seconds": 1.0})
    benchmark_eval.main(["--frames", "300", "--rows", "4000", "--output", str(tmp_path / "f.json")])
    figures = json.loads((tmp_path / "f.json").read_text())
    assert json.loads(capsys.readouterr().out) == figures
    assert 0 < figures["activitynet"]["mAP"] < 1
    assert figures["activitynet"]["seconds"] > 0
    assert 0.2 < figures["persons"]["AP50"] < 1 and figures["persons"]["seconds_15_a_frame"] > 0
