"""Names of AVA's actions, with the dataset at hand and without."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import pytest
from shared_data import shared_data

from mestad_d2 import model_zoo
from mestad_d2.errors import UserError
from mestad_d2.formats.ava_actions import AVA_ACTIONS
from mestad_d2.formats.label_map import LabelMap, read_label_map
from mestad_d2.inference.action_names import action_names


def test_the_80_names_agree_with_the_official_map_of_the_60_evaluated_ones() -> None:
    official = read_label_map(shared_data("ava", "ava_action_list_v2.1_for_activitynet_2018.pbtxt")).names
    assert len(official) == 60 and {i: AVA_ACTIONS[i] for i in official} == official
    assert sorted(AVA_ACTIONS) == list(range(1, 81)) and len(set(AVA_ACTIONS.values())) == 80
    assert LabelMap(AVA_ACTIONS).is_ava()


def test_ava_models_have_names_without_any_file_of_ava(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setenv("DETECTRON2_DATASETS", str(tmp_path))
    names = action_names(model_zoo.get_config("published/pytorchvideo/slow_r50_detection"))
    assert names[12] == "stand" and names[80] == "watch (a person)" and names.shown(21)


def test_models_of_other_datasets_keep_their_numbers(tmp_path: Path) -> None:
    cfg = model_zoo.get_config("AVA-v2.2/SlowOnly_R50_4x16")
    cfg.MODEL.ROI_ACTION_HEAD.NUM_CLASSES = 7
    assert action_names(cfg)[3] == "action 3"
    label_map = tmp_path / "labels.txt"
    label_map.write_text("3: wave\n")
    assert action_names(cfg, label_map)[3] == "wave"


def test_a_label_map_of_another_model_is_told(tmp_path: Path, caplog) -> None:
    cfg, path = model_zoo.get_config("AVA-v2.2/SlowOnly_R50_4x16"), tmp_path / "labels.txt"

    def write(ids: Iterable[int]) -> Path:
        path.write_text("".join(f"{number}: a{number}\n" for number in ids))
        return path

    with pytest.raises(
        UserError, match="labels.txt: 3 names, where the model has 80 actions; give the label map"
    ):
        action_names(cfg, write([1, 2, 3]))
    # A selection of the model's classes, as AVA's own map is one.
    assert action_names(cfg, write([3, 12, 80]))[12] == "a12" and not caplog.records
    action_names(cfg, write(range(1, 41)))
    assert "names the actions up to 40 of the model's 80" in caplog.text
    action_names(cfg, write(range(1, 158)))
    assert "has ids up to 157, the model 80 actions" in caplog.text
