"""Each row of Table 2 builds from its config and makes one step on a pyramid of a 256 x 256 clip."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from detectron2.modeling import build_proposal_generator
from detectron2.utils.events import EventStorage
from modeling.proposal_generator.helpers import features, images, people, shapes

from mestad_d2.load_config import setup_cfg

CONFIGS = sorted((Path(__file__).parents[3] / "configs" / "ablations" / "table2").glob("*.yaml"))


def test_all_six_rows_are_there():
    rows = {path.stem.removeprefix("table2_") for path in CONFIGS}
    assert rows == {"fcos", "fcos_minus", "gfocalv2", "retinanet", "rpn_rcnn", "sparse_rcnn"}


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.stem)
def test_builds_and_makes_one_step(path):
    cfg = setup_cfg(path)
    assert path.stem in cfg.OUTPUT_DIR
    torch.manual_seed(0)
    generator = build_proposal_generator(cfg, shapes(256)).train()
    pyramid = features(1, 256, 256)
    with EventStorage():
        _, losses = generator(images(1, 256), pyramid, [people([30, 20, 120, 230], size=256)])
    sum(losses.values()).backward()
    # A start that is no larger than an untrained head's should be: a wrong divisor shows here.
    assert 0 < sum(losses.values()).item() < 100
    found, _ = generator.eval()(images(1, 256), pyramid, None)
    assert len(found[0]) <= 10
