"""The detectron2 evaluator on a dataset of a few frames whose figures are known by hand."""

from __future__ import annotations

import json
import logging
import multiprocessing
from pathlib import Path

import numpy as np
import pytest
import torch
from detectron2.data import MetadataCatalog
from detectron2.structures import Boxes, Instances
from detectron2.utils import comm

from mestad_d2.errors import UserError
from mestad_d2.evaluation.evaluator import AVAEvaluator
from mestad_d2.evaluation.frame_map.score import frame_map
from mestad_d2.evaluation.read_rows import read_rows
from mestad_d2.formats.label_map import read_label_map

LABELS = """item {
  name: "stand"
  id: 1
  label_type: PERSON_MOVEMENT
}
item {
  name: "hold"
  id: 3
  label_type: OBJECT_MANIPULATION
}
item {
  name: "talk"
  id: 4
  label_type: PERSON_INTERACTION
}
"""
GT = """a,0902,0.1,0.1,0.5,0.9,1,0
a,0902,0.1,0.1,0.5,0.9,3,0
a,0902,0.6,0.1,0.9,0.9,1,1
a,0903,0.1,0.1,0.5,0.9,1,0
"""


@pytest.fixture
def dataset(tmp_path: Path, request: pytest.FixtureRequest):
    name = f"evaluation_{request.node.name}"
    (tmp_path / "gt.csv").write_text(GT)
    (tmp_path / "labels.pbtxt").write_text(LABELS)
    metadata = MetadataCatalog.get(name)
    metadata.set(
        evaluator_type="ava",
        ground_truth=str(tmp_path / "gt.csv"),
        label_map=str(tmp_path / "labels.pbtxt"),
        exclude=None,
    )
    yield name
    MetadataCatalog.pop(name)


def _step(timestamp: float, boxes: list, person: list, actions: list) -> tuple[dict, dict]:
    """One frame of 100 x 200 pixels; boxes as fractions."""
    instances = Instances((100, 200))
    instances.pred_boxes = Boxes(torch.tensor(boxes).reshape(-1, 4) * torch.tensor([200.0, 100, 200, 100]))
    instances.scores = torch.tensor(person).reshape(-1)
    instances.pred_actions = torch.tensor(actions).reshape(-1, 4)
    return {"video_id": "a", "timestamp": timestamp}, {"instances": instances}


def _feed(evaluator: AVAEvaluator, *steps: tuple[dict, dict]) -> None:
    evaluator.process([s[0] for s in steps], [s[1] for s in steps])


A, B = [0.1, 0.1, 0.5, 0.9], [0.6, 0.1, 0.9, 0.9]
FIRST = (902.0, [A, B], [0.9, 0.8], [[0.9, 0.99, 0.0, 0.0], [0.7, 0.0, 0.5, 0.0]])
SECOND = (903.0, [B], [0.7], [[0.8, 0.0, 0.0, 0.0]])


def test_figures_by_hand(dataset: str, tmp_path: Path) -> None:
    evaluator = AVAEvaluator(dataset, output_dir=str(tmp_path / "out"), score_thresh=0.1)
    evaluator.reset()
    _feed(evaluator, _step(*FIRST), _step(*SECOND))
    results = evaluator.evaluate()
    # stand: TP .9, FP .8, TP .7 of three boxes: 1/3 + 2/3 * 1/3; hold: a false positive; talk: no truth.
    stand = 100 * (1 / 3 + 2 / 9)
    got = results["frame_map"]
    assert got["AP/stand"] == pytest.approx(stand)
    assert got["AP/hold"] == 0
    assert "AP/talk" not in got
    assert got["mAP"] == got["mAP_slowfast"] == pytest.approx(stand / 2)
    assert (got["mAP_pose"], got["mAP_object"]) == (pytest.approx(stand), 0)
    assert "mAP_person" not in got
    assert got["num_classes"] == 2
    # Persons: three distinct boxes; TP .9, TP .8, FP .7: COCO's 101 points up to recall 2/3.
    assert results["person"]["AP50"] == pytest.approx(100 * 67 / 101)
    assert results["person"]["AP50:95"] == pytest.approx(100 * 67 / 101)
    assert results["person"]["AR@10"] == pytest.approx(100 * 2 / 3)
    assert (
        (tmp_path / "out" / "detections.csv")
        .read_text()
        .startswith("a,0902,0.100000,0.100000,0.500000,0.900000,1,0.9")
    )
    saved = json.loads((tmp_path / "out" / "ava_metrics.json").read_text())
    assert saved["frame_map"]["mAP"] == got["mAP"]
    assert saved["protocols"]["slowfast"]["per_class"]["4"]["ap"] is None


def test_csv_gives_the_same_figure(dataset: str, tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    evaluator = AVAEvaluator(dataset, ["slowfast", "activitynet"], str(tmp_path))
    steps = []
    for t in (902.0, 903.0):
        boxes = np.array([A, B] * 3) + rng.uniform(-0.05, 0.05, (6, 4))
        steps.append(
            _step(t, boxes.astype(np.float32).tolist(), rng.random(6).tolist(), rng.random((6, 4)).tolist())
        )
    _feed(evaluator, *steps)
    got = evaluator.evaluate()["frame_map"]
    labels = read_label_map(tmp_path / "labels.pbtxt")
    for key, protocol in (("mAP", "slowfast"), ("mAP_activitynet", "activitynet")):
        gt = read_rows(tmp_path / "gt.csv", "gt", protocol, set(labels.names))
        det = read_rows(tmp_path / "detections.csv", "det", protocol, set(labels.names))
        assert 100 * frame_map(gt, det, labels, protocol).mAP == got[key]


def test_stricter_overlaps_are_reported_where_asked_for(dataset: str) -> None:
    evaluator = AVAEvaluator(dataset, score_thresh=0.1, stricter_ious=True)
    shorter = [0.1, 0.1, 0.5, 0.68]
    _feed(evaluator, _step(902.0, [shorter, B], *FIRST[2:]), _step(*SECOND))
    got = evaluator.evaluate()["frame_map"]
    # The first box has IoU 0.725 with its person, five thresholds. Without it the third of three is right: 1/3 of 1/3.
    without, found = 100 / 9 / 2, got["mAP"]
    assert got["mAP75"] == pytest.approx(without)
    assert got["mAP50:95"] == pytest.approx((found + without) / 2)


def test_no_detections(dataset: str, caplog: pytest.LogCaptureFixture) -> None:
    evaluator = AVAEvaluator(dataset)
    _feed(evaluator, _step(902.0, [], [], []))
    logging.getLogger("mestad_d2").propagate = True
    with caplog.at_level(logging.WARNING):
        results = evaluator.evaluate()
    assert results["frame_map"]["mAP"] == 0
    assert results["person"] == {"AP50": 0, "AP50:95": 0, "AR@10": 0}
    assert "there are no detections" in caplog.text
    assert AVAEvaluator(dataset).evaluate()["frame_map"]["mAP"] == 0


def test_detections_of_other_processes(dataset: str, monkeypatch: pytest.MonkeyPatch) -> None:
    alone = AVAEvaluator(dataset)
    _feed(alone, _step(*FIRST), _step(*SECOND))
    want = alone.evaluate()
    one, two = AVAEvaluator(dataset), AVAEvaluator(dataset)
    _feed(one, _step(*SECOND))
    _feed(two, _step(*FIRST), _step(*SECOND))
    monkeypatch.setattr(comm, "get_world_size", lambda: 2)
    monkeypatch.setattr(comm, "synchronize", lambda: None)
    monkeypatch.setattr(comm, "gather", lambda data, dst: [data, two._frames])
    assert one.evaluate() == want
    monkeypatch.setattr(comm, "is_main_process", lambda: False)
    assert two.evaluate() is None


def test_fractional_timestamps_leave_slowfast_out(dataset: str, tmp_path: Path) -> None:
    (tmp_path / "gt.csv").write_text("a,3.48,0.1,0.1,0.5,0.9,1,0\n")
    evaluator = AVAEvaluator(dataset)
    _feed(evaluator, _step(3.48, [A], [0.9], [[0.9, 0, 0, 0]]))
    results = evaluator.evaluate()
    assert results["frame_map"]["mAP"] == 100
    assert "mAP_slowfast" not in results["frame_map"]
    assert results["person"]["AP50"] == pytest.approx(100)


def test_excluded_frames(dataset: str, tmp_path: Path) -> None:
    (tmp_path / "exclude.csv").write_text("a,0903\n")
    MetadataCatalog.get(dataset).__dict__["exclude"] = str(tmp_path / "exclude.csv")
    evaluator = AVAEvaluator(dataset, score_thresh=0.1)
    _feed(evaluator, _step(*FIRST), _step(*SECOND))
    results = evaluator.evaluate()
    assert results["person"]["AP50"] == pytest.approx(100)
    assert results["frame_map"]["mAP_slowfast"] == pytest.approx(50)
    assert results["frame_map"]["mAP"] < 50


def test_metadata_without_labels() -> None:
    with pytest.raises(UserError, match="label_map"):
        AVAEvaluator("evaluation_unknown_dataset")


def _evaluate_in_process(rank: int, rendezvous: str, dataset: str, queue) -> None:
    torch.set_num_threads(1)
    torch.distributed.init_process_group("gloo", init_method=rendezvous, rank=rank, world_size=2)
    evaluator = AVAEvaluator(dataset)
    evaluator.reset()
    # The second process has a frame of the first once more, as samplers that fill up their last round do.
    _feed(evaluator, *([_step(*FIRST)] if rank == 0 else [_step(*SECOND), _step(*FIRST)]))
    queue.put((rank, evaluator.evaluate()))
    torch.distributed.destroy_process_group()


@pytest.mark.skipif("fork" not in multiprocessing.get_all_start_methods(), reason="needs fork")
def test_two_processes(dataset: str, tmp_path: Path) -> None:
    alone = AVAEvaluator(dataset)
    _feed(alone, _step(*FIRST), _step(*SECOND))
    context = multiprocessing.get_context("fork")
    queue = context.Queue()
    arguments = (f"file://{tmp_path / 'rendezvous'}", dataset, queue)
    processes = [context.Process(target=_evaluate_in_process, args=(rank, *arguments)) for rank in range(2)]
    for process in processes:
        process.start()
    results = dict(queue.get(timeout=60) for _ in processes)
    for process in processes:
        process.join(60)
        assert process.exitcode == 0
    assert results == {0: alone.evaluate(), 1: None}
