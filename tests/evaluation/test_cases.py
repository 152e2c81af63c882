"""Known answers of the published evaluators, within 1e-9."""

from __future__ import annotations

import json
import math

import pytest
from shared_data import ROOT, shared_data

from mestad_d2.errors import UserError
from mestad_d2.evaluation.frame_map.protocols import PROTOCOLS
from mestad_d2.evaluation.frame_map.score import frame_map
from mestad_d2.evaluation.ground_truth import exclusion_keys
from mestad_d2.evaluation.read_rows import read_rows
from mestad_d2.formats.ava_csv import read_exclusions
from mestad_d2.formats.label_map import read_label_map

CASES = sorted(p.name for p in (ROOT / "ava_eval_cases").glob("[0-9]*")) or ["01_basic"]
VARIANT = {"activitynet": "anet_head", "slowfast": "slowfast"}


def _same(a: float, b: float | None) -> bool:
    return math.isnan(a) if b is None else abs(a - b) < 1e-9


@pytest.mark.parametrize("protocol", VARIANT)
@pytest.mark.parametrize("case", CASES)
def test_case(case: str, protocol: str) -> None:
    folder = shared_data("ava_eval_cases", case)
    expected = json.loads((folder / "expected.json").read_text())["official"][VARIANT[protocol]]

    def evaluate():
        labels = read_label_map(folder / "labelmap.pbtxt")
        gt = read_rows(folder / "groundtruth.csv", "gt", protocol, set(labels.names))
        det = read_rows(folder / "detections.csv", "det", protocol, set(labels.names))
        excluded = exclusion_keys(read_exclusions(folder / "excluded_timestamps.csv"), PROTOCOLS[protocol])
        return frame_map(gt, det, labels, protocol, excluded)

    if expected["error"]:
        with pytest.raises(UserError):
            evaluate()
        return
    result = evaluate()
    assert _same(result.mAP, expected.get("mAP_stable_argsort", expected["mAP"]))
    assert len(result.per_class) == len(expected["per_class"])
    for key, want in expected["per_class"].items():
        got = result.per_class[int(key)]
        assert _same(got.ap, want.get("ap_stable_argsort", want["ap"]))
        counts = (got.name, got.num_gt, got.num_det, got.num_tp)
        assert counts == (want["name"], want["num_gt"], want["num_det"], want["num_tp"])
