"""tools/densify.py --persons: the people of a detector, or of a file, are labelled in place of the network's own."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from loading import load_script
from tiny import CONFIG, SMALLER, tiny_cfg

from mestad_d2.boxes import pairwise_iou
from mestad_d2.data.toy.dataset import make_toy
from mestad_d2.densify.detections.teacher import teacher_cfg
from mestad_d2.densify.formats.csv_files import read_dense_csv
from mestad_d2.formats.ava_csv import read_ground_truth
from mestad_d2.inference.person_detector.sources import use_persons
from mestad_d2.modeling.build import build_detector

TOOL = load_script("tools/densify.py")
TWO_STAGE = [
    "MODEL.PROPOSAL_GENERATOR.NAME",
    "PrecomputedProposals",
    "MODEL.ROI_ACTION_HEAD.TEST_BOXES",
    "external",
]


def test_new_rows_lie_on_the_given_people(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    toy = tmp_path / "toy"
    make_toy(toy, seed=3, videos=1, val_videos=0, seconds=3)
    torch.manual_seed(0)
    # A two-stage action network: it has no person head, so without boxes there is nobody.
    torch.save({"model": build_detector(tiny_cfg(*TWO_STAGE)).state_dict()}, tmp_path / "model.pth")
    truth = {}
    for row in read_ground_truth(toy / "annotations" / "dense.csv"):
        truth.setdefault(round(row.timestamp, 3), {})[row.person_id] = row.box
    video = next((toy / "videos").glob("*.mp4")).stem
    (tmp_path / "boxes.csv").write_text(
        "".join(
            f"{video},{time:.3f},{','.join(f'{v:.4f}' for v in box)},,0.95\n"
            for time, people in truth.items()
            for box in people.values()
        )
    )
    line = ["--config-file", CONFIG, "--annotations", toy / "annotations" / "train.csv", "--videos", toy / "videos",
            "--output", tmp_path / "dense.csv", "--labels", toy / "annotations" / "label_map.pbtxt"]  # fmt: skip
    opts = ["--opts", *SMALLER, "MODEL.WEIGHTS", tmp_path / "model.pth"]
    TOOL.main([str(v) for v in (*line, "--persons", f"csv:{tmp_path / 'boxes.csv'}", *opts)])
    new = [row for row in read_dense_csv(tmp_path / "dense.csv") if row.confidence is not None]
    assert len({row.timestamp for row in new}) > 20
    overlaps = [
        pairwise_iou(
            np.array([row.box]), np.array(list(truth[round(float(row.timestamp), 3)].values()))
        ).max()
        for row in new
    ]
    assert np.mean(overlaps) > 0.95
    capsys.readouterr()
    with pytest.raises(SystemExit):
        TOOL.main([str(v) for v in (*line, "--overwrite", "--persons", "csv", *opts)])
    assert "expected NAME:MODEL" in capsys.readouterr().err


def test_the_detectors_own_thresholds_select_its_people() -> None:
    cfg = tiny_cfg("SEMISUP.TEACHER_SCORE_THRESH", 0.7).clone()
    cfg.defrost()
    assert teacher_cfg(cfg).MODEL.ROI_ACTION_HEAD.TEST_BOXES == "proposals"
    use_persons(cfg, "csv:boxes.csv")
    assert teacher_cfg(cfg).MODEL.ROI_ACTION_HEAD.TEST_BOXES == "external"
