"""The benchmark of tubes at a size that takes a moment."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from mestad_d2.benchmarks.tubes.evaluation import A_FRAME, CLASSES, ours, write_ucf_size
from mestad_d2.evaluation.tubes.frame_map import frame_map
from mestad_d2.evaluation.tubes.protocols import PROTOCOLS
from mestad_d2.evaluation.tubes.video_map import video_map
from mestad_d2.formats.tubes.detections import read_detections
from mestad_d2.formats.tubes.ground_truth import read_truth


def test_dataset_has_the_stated_size_and_is_judged(tmp_path: Path) -> None:
    files = write_ucf_size(tmp_path, 24, 480)
    dataset, truth = read_truth(files[0])
    frames, tubes = (read_detections(path, dataset) for path in files[1:])
    assert len(dataset.videos) == 24 and len(truth) == 36
    assert len(frames) == 480 * CLASSES * A_FRAME and len(tubes) == 24 * CLASSES * A_FRAME
    assert frames.score.min() >= 0.01
    figures = ours(*files, "multisports")
    assert figures["frame_mAP"] > 0.3 and figures["video_mAP@0.2"] > 0.5
    assert figures["seconds"] >= figures["count_seconds"] > 0


@pytest.mark.parametrize("name", list(PROTOCOLS))
def test_narrow_types_of_big_datasets_give_the_figures_of_wide_ones(name: str, tmp_path: Path) -> None:
    files = write_ucf_size(tmp_path, 24, 240)
    dataset, truth = read_truth(files[0])
    frames, tubes = (read_detections(path, dataset) for path in files[1:])
    assert frames.boxes.dtype == np.float32 and tubes.boxes.dtype == np.float32
    wide = replace(
        frames,
        video=frames.video.astype(np.int64),
        frame=frames.frame.astype(np.int64),
        label=frames.label.astype(np.int64),
        score=frames.score.astype(np.float64),
        boxes=frames.boxes.astype(np.float64),
    )
    protocol = PROTOCOLS[name]
    figures = [
        frame_map(truth, f, dataset.classes, protocol).thresholds["0.5"].per_class for f in (frames, wide)
    ]
    np.testing.assert_allclose(*figures, atol=1e-9)
    wide = replace(tubes, boxes=tubes.boxes.astype(np.float64), frame=tubes.frame.astype(np.int64))
    figures = [
        video_map(truth, t, dataset.classes, protocol).thresholds["0.5"].per_class for t in (tubes, wide)
    ]
    np.testing.assert_allclose(*figures, atol=1e-9)
