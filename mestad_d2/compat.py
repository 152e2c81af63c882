"""The only place that knows that detectron2 exists in two versions (0.5, and upstream's main).

Features are detected, never versions compared: upstream's 0.6 and main carry the same number.
"""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import Any

from detectron2.config import CfgNode
from detectron2.engine.train_loop import TrainerBase
from fvcore.common.config import CfgNode as SafeCfgNode


def load_yaml(filename: str) -> dict[str, Any]:
    """Read a config file and its ``_BASE_`` chain without unsafe yaml tags.

    detectron2 0.5 merges yaml with ``unsafe_load`` by default, so that a config from the net could run
    code; fvcore's own reader refuses such tags.

    Raises:
        yaml.YAMLError: the file is no yaml or holds an unsafe tag.
    """
    return SafeCfgNode.load_yaml_with_base(filename, allow_unsafe=False)


def merge_config_file(cfg: CfgNode, filename: str) -> None:
    """Merge ``filename`` and its ``_BASE_`` chain into ``cfg``, unsafe tags refused."""
    cfg.merge_from_other_cfg(CfgNode(load_yaml(filename)))


def trainer_base_state(trainer: TrainerBase) -> dict[str, Any]:
    """State of ``TrainerBase`` itself; 0.5 has none."""
    base = getattr(TrainerBase, "state_dict", None)
    return dict(base(trainer)) if base is not None else {"iteration": trainer.iter}


def load_trainer_base_state(trainer: TrainerBase, state: Mapping[str, Any]) -> None:
    """Restore what ``trainer_base_state`` returned; keys may be missing."""
    base = getattr(TrainerBase, "load_state_dict", None)
    if base is not None:
        base(trainer, state)
    elif "iteration" in state:
        trainer.iter = state["iteration"]


def supported_arguments(function: Any, **arguments: Any) -> dict[str, Any]:
    """Those of ``arguments`` that ``function`` of the installed detectron2 takes."""
    known = inspect.signature(function).parameters
    return {name: value for name, value in arguments.items() if name in known}
