"""Files of other trainers, as they lie after a run: weights are read, what lies beside them is skipped unrun."""

from __future__ import annotations

import argparse
import collections
import sys
import types
from pathlib import Path

import numpy as np
import torch

from mestad_d2.checkpoint.read import read_checkpoint


class HistoryBuffer:
    """mmengine's training curve in its essentials: arrays, and bound methods by name."""

    def __init__(self) -> None:
        self._log_history, self._count_history = np.array([0.5, 0.25]), np.array([1, 1])
        self._statistics_methods = {"mean": HistoryBuffer.mean}

    def mean(self) -> float:
        return float(self._log_history.mean())

    def __getstate__(self) -> dict:
        return self.__dict__


HistoryBuffer.__module__ = "mmengine.logging.history_buffer"


def test_training_curves_arguments_and_paths_are_skipped(tmp_path: Path, monkeypatch) -> None:
    module = types.ModuleType(HistoryBuffer.__module__)
    module.HistoryBuffer = HistoryBuffer
    for name in ("mmengine", "mmengine.logging", HistoryBuffer.__module__):
        monkeypatch.setitem(sys.modules, name, types.ModuleType(name))
    monkeypatch.setitem(sys.modules, HistoryBuffer.__module__, module)
    weights = {"backbone.conv1.conv.weight": torch.arange(6.0)}
    content = {
        "state_dict": weights,
        "message_hub": {
            "log_scalars": collections.OrderedDict(loss=HistoryBuffer()),
            "runtime_info": {"iter": 3},
        },
        "args": argparse.Namespace(lr=0.1, layers=[1, 2]),
        "counts": collections.defaultdict(list, {"a": [1]}),
        "output": Path("/somewhere"),
        "epoch": 7,
    }
    torch.save(content, tmp_path / "epoch_7.pth")
    # Nothing of it is there to be run.
    monkeypatch.delitem(sys.modules, HistoryBuffer.__module__)
    found = read_checkpoint(tmp_path / "epoch_7.pth")
    assert torch.equal(found["state_dict"]["backbone.conv1.conv.weight"], torch.arange(6.0))
    assert found["epoch"] == 7 and found["message_hub"]["runtime_info"] == {"iter": 3}
    assert not isinstance(found["args"], argparse.Namespace) and not isinstance(found["output"], Path)


def test_a_torch_file_with_another_ending_is_read_by_its_content(tmp_path: Path) -> None:
    torch.save({"model": {"a": torch.ones(2)}}, tmp_path / "model.safetensors")
    assert read_checkpoint(tmp_path / "model.safetensors")["model"]["a"].tolist() == [1, 1]
