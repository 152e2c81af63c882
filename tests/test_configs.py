"""Every yaml under configs/ builds and makes a training step at reduced size; one at its full size."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from detectron2.modeling import build_model
from detectron2.structures import Instances
from detectron2.utils.events import EventStorage
from tiny import ROOT, fake_input

from mestad_d2.engine.setup import setup_cfg

CONFIGS = sorted(path for path in (ROOT / "configs").rglob("*.yaml") if not path.name.startswith("Base"))
REDUCED = [
    "MODEL.DEVICE", "cpu", "MODEL.VIDEO_RESNET.WIDTH", "8", "MODEL.FPN.OUT_CHANNELS", "32",
    "MODEL.FCOS.CONV_DIM", "32", "MODEL.FCOS.NUM_CONVS", "1", "MODEL.ROI_BOX_HEAD.FC_DIM", "16",
    "MODEL.VIDEO_BACKBONE.WIDTH", "24", "MODEL.VIDEO_BACKBONE.STAGE_BLOCKS", "[1,1,1,1]",
]  # fmt: skip


@pytest.mark.parametrize("path", CONFIGS, ids=lambda p: str(p.relative_to(ROOT / "configs")))
def test_builds_and_makes_a_step(path: Path) -> None:
    torch.manual_seed(0)
    cfg = setup_cfg(path, REDUCED)
    if cfg.MODEL.BACKBONE.NAME == "build_vivit_backbone":
        pytest.importorskip("transformers", reason="ViViT needs the extra transformers")
    model = build_model(cfg).train()
    item = fake_input(
        [[5, 5, 40, 60], [50, 4, 78, 62]], frames=min(cfg.INPUT.CLIP.NUM_FRAMES, 16), size=(64, 96)
    )
    item["instances"].gt_actions = torch.zeros(2, cfg.MODEL.ROI_ACTION_HEAD.NUM_CLASSES)
    # Only the configs on external boxes look at them.
    boxes = item["instances"].gt_boxes
    item["proposals"] = Instances((64, 96), proposal_boxes=boxes, objectness_logits=torch.ones(2))
    with EventStorage():
        losses = model([item])
    total = sum(losses.values())
    total.backward()
    assert torch.isfinite(total) and "loss_action" in losses
    assert any(p.grad is not None and p.grad.any() for p in model.backbone.parameters())


@pytest.mark.slow
def test_slowfast_r50_at_its_full_size() -> None:
    torch.manual_seed(0)
    cfg = setup_cfg(ROOT / "configs" / "AVA-v2.2" / "SlowFast_R50_8x8.yaml", ["MODEL.DEVICE", "cpu"])
    model = build_model(cfg).train()
    item = fake_input([[30, 40, 120, 220], [130, 20, 220, 240]], frames=32, size=(256, 256))
    item["instances"].gt_actions = torch.zeros(2, 80)
    losses = model([item])
    sum(losses.values()).backward()
    assert all(torch.isfinite(loss) for loss in losses.values())
    found = model.eval()([item])[0]["instances"]
    assert found.pred_actions.shape == (len(found), 80) and len(found) <= 10
