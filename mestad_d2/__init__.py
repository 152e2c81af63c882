"""End-to-end spatio-temporal action detection (ME-STAD) on Detectron2.

``add_mestad_config`` also registers the datasets and model parts that a config names. They are imported
there, not with the package, so that tools that need no model start fast.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from detectron2.config import CfgNode

from mestad_d2 import moved

__all__ = ["add_mestad_config"]

moved.install()


def add_mestad_config(cfg: CfgNode) -> None:
    """Register everything of this package and add its keys to a detectron2 config, in place."""
    from mestad_d2 import config_values, data, modeling, semisup  # noqa: F401  (imported for what they register)
    from mestad_d2.config import add_mestad_config as add_keys
    from mestad_d2.evaluation.frame_map.protocols import PROTOCOLS

    # The dictionary itself, to which users add theirs.
    config_values.KNOWN_NAMES["TEST.PROTOCOLS"] = PROTOCOLS
    add_keys(cfg)
