"""Datasets of people without actions: they train the person head alone, beside labelled ones too."""

from __future__ import annotations

import json
import pickle
from pathlib import Path

import numpy as np
import pytest
import torch
from detectron2.data import DatasetCatalog
from tiny import CONFIG, SMALLER
from torch import nn

from mestad_d2.data.check.dataset import check_dataset
from mestad_d2.data.loaders import build_train_loader, build_unlabeled_loader
from mestad_d2.data.person_boxes import read_people
from mestad_d2.engine import build_trainer
from mestad_d2.errors import UserError
from mestad_d2.load_config import setup_cfg
from mestad_d2.modeling.build import build_detector

ROWS = """a,1,0.1,0.1,0.4,0.9,,3
a,1,0.5,0.1,0.9,0.9,,0.9134
a,2,0.5,0.1,0.9,0.9,,0.2000
a,2,0.5,0.1,0.9,0.9,7,4
a,3
b,1,0.25,0.25,0.75,0.75,
"""


def entry(path: Path, videos: Path) -> dict:
    return {"NAME": "people", "VIDEOS": str(videos), "ANNOTATIONS": str(path), "PERSONS_ONLY": True}


def cfg_of(tmp_path: Path, entries: list[dict], train: tuple[str, ...], *opts: object):
    path = tmp_path / "run.yaml"
    content = {
        "_BASE_": str(CONFIG), "DATASETS": {"CUSTOM": entries, "TRAIN": train, "TEST": ()}, "OUTPUT_DIR": str(tmp_path)
    }  # fmt: skip
    path.write_text(json.dumps(content))
    return setup_cfg(path, [*SMALLER, *map(str, opts)])


@pytest.fixture
def data(toy: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The toy dataset, and a file of its people without actions."""
    monkeypatch.setenv("DETECTRON2_DATASETS", str(toy))
    return toy / "toy"


def without_actions(labels: Path, path: Path) -> Path:
    rows = {tuple(line.split(",")[:6]) for line in labels.read_text().splitlines()}
    path.write_text("".join(f"{','.join(row)},,0.9500\n" for row in sorted(rows)))
    return path


def test_rows_of_people_are_read_with_ids_scores_and_empty_key_frames(tmp_path: Path) -> None:
    (tmp_path / "people.csv").write_text(ROWS)
    rows = read_people(tmp_path / "people.csv", min_score=0.5)
    assert {row.action_id for row in rows} == {0}
    assert [(row.video_id, row.timestamp, row.person_id, row.box and row.box[0]) for row in rows] == [
        ("a", 1, 3, 0.1), ("a", 1, -1, 0.5), ("a", 2, -1, None), ("a", 2, 4, 0.5), ("a", 3, -1, None), ("b", 1, -1, 0.25)
    ]  # fmt: skip
    with open(tmp_path / "boxes.pkl", "wb") as file:
        pickle.dump({"a,0001": np.array([[0.1, 0.1, 0.4, 0.9, 0.95]]), "a,0002": np.zeros((0, 5))}, file)
    found = read_people(tmp_path / "boxes.pkl")
    assert [row.box for row in found] == [(0.1, 0.1, 0.4, 0.9), None] and found[0].confidence == 0.95


def test_people_without_actions_give_losses_of_the_person_head_alone(data: Path, tmp_path: Path) -> None:
    people = without_actions(data / "annotations" / "train.csv", tmp_path / "people.csv")
    cfg = cfg_of(
        tmp_path, [entry(people, data / "videos")], ("people",), "MODEL.ROI_ACTION_HEAD.DROPOUT", "0.0"
    )
    labelled = DatasetCatalog.get("toy_train")
    ours = DatasetCatalog.get("people")
    times = {(item["video_id"], item["timestamp"]): len(item["annotations"]) for item in labelled}
    assert {(i["video_id"], i["timestamp"]): len(i["annotations"]) for i in ours} == times
    batch = next(iter(build_train_loader(cfg)))
    torch.manual_seed(0)
    model = build_detector(cfg).train()
    losses = model(batch)
    assert float(losses["loss_action"]) == 0 and float(losses["loss_fcos_cls"]) > 0
    losses["loss_action"].backward(retain_graph=True)
    assert not any(p.grad is not None and p.grad.any() for p in model.parameters())
    # With labels in the same clips the person losses are the same, and there are losses of actions.
    for item in batch:
        item["instances"].remove("gt_action_mask")
    again = model(batch)
    assert float(again["loss_action"]) > 0
    assert all(torch.allclose(again[name], loss) for name, loss in losses.items() if name != "loss_action")


@pytest.mark.parametrize("semisup", [False, True])
def test_a_mixed_training_learns_actions_of_labelled_people_only(
    data: Path, tmp_path: Path, semisup: bool
) -> None:
    people = without_actions(data / "annotations" / "val.csv", tmp_path / "people.csv")
    entries = [entry(people, data / "videos")]
    cfg = cfg_of(tmp_path, entries, ("toy_train", "people"), "SOLVER.MAX_ITER", 3, "SOLVER.IMS_PER_BATCH", 4,
                 "SEMISUP.ENABLED", semisup, "SEMISUP.BURN_IN_ITERS", 1,
                 "SEMISUP.PSEUDO_LABELER", "PerClassThreshold")  # fmt: skip
    loader = build_train_loader(cfg)
    masks = [
        item["instances"].has("gt_action_mask")
        for _, batch in zip(range(6), loader, strict=False)
        for item in batch
    ]
    assert True in masks and False in masks
    trainer = build_trainer(cfg)
    trainer.resume_or_load(resume=False)
    trainer.train()
    assert isinstance(trainer.bare_model, nn.Module)
    only = cfg_of(tmp_path, entries, ("people",), "SEMISUP.ENABLED", True)
    with pytest.raises(UserError, match="no frames next to key frames"):
        build_unlabeled_loader(only)


def test_the_check_knows_people_without_actions(data: Path, tmp_path: Path) -> None:
    people = without_actions(data / "annotations" / "train.csv", tmp_path / "people.csv")
    given = {"video_root": data / "videos", "annotations": people, "label_map": None}
    report = check_dataset(**given, persons_only=True)
    assert not report.faults and report.key_frames and not report.classes
    assert "action_id" in {fault.kind for fault in check_dataset(**given).faults}
    with open(people, "a") as file:
        file.write("toy_000,1,0.5,0.5,0.4,0.9,,0.95\n")
    (fault,) = check_dataset(**given, persons_only=True).faults
    assert fault.kind == "empty_box" and f"row {report.rows + 1}" in fault.where


def test_mistakes_are_one_line(data: Path, tmp_path: Path) -> None:
    people = without_actions(data / "annotations" / "train.csv", tmp_path / "people.csv")
    own = entry(people, data / "videos")
    with pytest.raises(UserError, match="people.csv: row 1: action id ''.*PERSONS_ONLY"):
        cfg_of(tmp_path, [{**own, "PERSONS_ONLY": False, "LABEL_MAP": "x.txt"}], ())
        DatasetCatalog.get("people")
    with pytest.raises(UserError, match="PERSONS_ONLY is 'yes'"):
        cfg_of(tmp_path, [{**own, "PERSONS_ONLY": "yes", "LABEL_MAP": "x.txt"}], ())
    with pytest.raises(UserError, match="give ANNOTATIONS, LABEL_MAP, NAME, VIDEOS"):
        cfg_of(tmp_path, [{**own, "PERSONS_ONLY": False}], ())
    cfg = cfg_of(tmp_path, [own], ("people",), "DATASETS.TEST", "('people',)")
    with pytest.raises(UserError, match="people without actions"):
        build_trainer(cfg)
