"""Every backbone as a file: what eager gives at the size of the export; other sizes right, or refused."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from tiny import ROOT
from torch import nn

from mestad_d2.inference.action_names import ActionNames
from mestad_d2.inference.export.check import compare
from mestad_d2.inference.export.files import clip_metadata, export, load_exported
from mestad_d2.inference.export.model import ExportableDetector
from mestad_d2.load_config import setup_cfg
from mestad_d2.modeling.build import build_detector

NARROW = [
    "MODEL.DEVICE", "cpu", "MODEL.VIDEO_RESNET.WIDTH", "8", "MODEL.FPN.OUT_CHANNELS", "32", "MODEL.FCOS.CONV_DIM", "32",
    "MODEL.FCOS.NUM_CONVS", "1", "MODEL.VIDEO_BACKBONE.WIDTH", "24", "MODEL.VIDEO_BACKBONE.STAGE_BLOCKS", "[1,1,1,1]",
]  # fmt: skip
# Config, and whether its file takes clips of any size.
CONFIGS = {
    "VideoMAE_B_16x4": False, "X3D_S_13x6": True, "MViTv1_B_16x4": False, "MViTv2_S_16x4": False,
    "VideoSwin_T_32x2": False, "Hiera_B_16x4": False, "ViViT_B_32x2": False, "VJEPA2_L_16x4": False,
}  # fmt: skip


def spread(name: str) -> tuple[nn.Module, object]:
    """A narrow detector whose scores lie far enough apart to have one order, with its config."""
    torch.manual_seed(0)
    cfg = setup_cfg(ROOT / "configs" / "AVA-v2.2" / f"{name}.yaml", NARROW)
    model = build_detector(cfg).eval()
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for key, tensor in model.backbone.state_dict().items():
            if tensor.is_floating_point() and "running" not in key:
                tensor.add_(0.05 * torch.randn(tensor.shape, generator=generator))
        for layer in (model.proposal_generator.head.cls_logits, model.proposal_generator.head.centerness):
            layer.weight.mul_(100)
            layer.bias.zero_()
    return model, cfg


@pytest.mark.parametrize("format", ["onnx", "torchscript"])
@pytest.mark.parametrize(
    "name",
    [pytest.param(name, marks=[] if name == "VideoMAE_B_16x4" else pytest.mark.slow) for name in CONFIGS],
)
def test_a_file_gives_what_eager_gives(name: str, format: str, tmp_path: Path) -> None:
    if format == "onnx":
        pytest.importorskip("onnx")
        pytest.importorskip("onnxruntime")
    if name.startswith(("ViViT", "VJEPA2")):
        pytest.importorskip("transformers")
    model, cfg = spread(name)
    generator = torch.Generator().manual_seed(2)

    def noise(height: int, width: int) -> torch.Tensor:
        shape = (3, cfg.INPUT.CLIP.NUM_FRAMES, height, width)
        return torch.randint(0, 256, shape, generator=generator, dtype=torch.uint8)

    detector = ExportableDetector(model)
    assert detector.fixed_size != CONFIGS[name]
    metadata = clip_metadata(cfg, ActionNames({1: "walk", 2: "run"}))
    export(detector, noise(64, 90), tmp_path / "model", format, metadata)
    exported = load_exported(tmp_path / "model", format, threads=1)
    parity = compare(model, exported, [noise(64, 90) for _ in range(2)])
    assert parity.holds and parity.people > 10, str(parity)
    if CONFIGS[name]:
        assert compare(model, exported, [noise(96, 64)]).holds
    else:
        with pytest.raises(Exception, match="(?i)64|invalid dimensions"):
            exported(noise(96, 64))
