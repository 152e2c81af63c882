"""With the same weights our stages compute what pytorchvideo's compute."""

from __future__ import annotations

import models
import pytest
import rules
import torch
from pytorchvideo.models.hub import slowfast
from pytorchvideo.models.slowfast import create_slowfast_with_roi_head

from mestad_d2.checkpoint import MESTADCheckpointer

STYLES = {
    "pytorchvideo": None,
    "PySlowFast": lambda e, fast: rules.pyslowfast(e),
    "Caffe2": lambda e, fast: rules.caffe2(e),
    "mmaction2": lambda e, fast: rules.mmaction(e, fast=fast),
}


def stage_outputs(blocks, pathways, x):
    """What stages res2..res5 of each pathway give on input ``x``, lateral fusion not yet in it."""
    found = {}
    for k in range(1, 5):
        parts = blocks[k].multipathway_blocks if pathways == 2 else [blocks[k]]
        for p, part in enumerate(parts):
            part.register_forward_hook(
                lambda _m, _i, out, k=k, p=p: found.__setitem__((f"res{k + 1}", p), out.clone())
            )
    with torch.no_grad():
        for block in blocks[:5]:
            x = block(x)
    return found


def load(ours, theirs, style, fast, tmp_path):
    """Their weights, under the names of ``style``, through a file, into our model."""
    state = theirs.state_dict()
    if STYLES[style] is not None:
        state = {
            STYLES[style](entry, fast): state[rules.pytorchvideo(entry, fast=fast)]
            for entry in rules.entries(50, fast)
        }
    torch.save({"model_state": state, "epoch": 1}, tmp_path / "weights.pyth")
    MESTADCheckpointer(ours).load(str(tmp_path / "weights.pyth"))
    return ours.eval()


@pytest.mark.parametrize("style", STYLES)
def test_slowfast_stages_equal_pytorchvideos(style, tmp_path):
    torch.manual_seed(0)
    theirs = models.their_slowfast()
    ours = load(models.slowfast(models.config()), theirs, style, True, tmp_path)
    clips = torch.randn(1, 3, 16, 64, 64)
    want = stage_outputs(theirs.blocks, 2, _paths(clips))
    assert len(want) == 8
    with torch.no_grad():
        have = ours.backbone(clips)
    for (stage, p), tensor in want.items():
        torch.testing.assert_close(have[stage][p], tensor, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("style", STYLES)
def test_slow_stages_equal_pytorchvideos(style, tmp_path):
    torch.manual_seed(0)
    theirs = models.their_slow()
    ours = load(models.slow(models.config()), theirs, style, False, tmp_path)
    clips = torch.randn(1, 3, 4, 64, 64)
    want = stage_outputs(theirs.blocks, 1, clips)
    with torch.no_grad():
        have = ours.backbone(clips)
    for (stage, _), tensor in want.items():
        torch.testing.assert_close(have[stage][0], tensor, rtol=1e-5, atol=1e-5)


def test_stages_of_a_detection_model_equal_pytorchvideos(tmp_path):
    """Its res5 keeps stride 16 and dilates both pathways: FAST_RES5_DILATION 2."""
    torch.manual_seed(0)
    theirs = models.shake(create_slowfast_with_roi_head(model_depth=50))
    cfg = models.config(
        VIDEO_RESNET__RES5_STRIDE=1, VIDEO_RESNET__RES5_DILATION=2, SLOWFAST__FAST_RES5_DILATION=2
    )
    ours = load(models.slowfast(cfg), theirs, "pytorchvideo", True, tmp_path)
    clips = torch.randn(1, 3, 16, 64, 64)
    want = stage_outputs(theirs.model.blocks, 2, _paths(clips))
    with torch.no_grad():
        have = ours.backbone(clips)
    for (stage, p), tensor in want.items():
        torch.testing.assert_close(have[stage][p], tensor, rtol=1e-5, atol=1e-5)


def test_slow_weights_in_the_slow_pathway_compute_what_they_did_alone(tmp_path):
    torch.manual_seed(0)
    theirs = models.their_slow()
    cfg = models.config(WEIGHTS_SLOW_INTO_SLOWFAST=True)
    ours = models.shake(models.slowfast(cfg), seed=1)
    torch.save({"model_state": theirs.state_dict()}, tmp_path / "slow.pyth")
    checkpointer = MESTADCheckpointer(ours, cfg=cfg)
    checkpointer.load(str(tmp_path / "slow.pyth"))
    report = checkpointer.last_report
    assert len(report.loaded) == 265 and len(report.adapted) == 8 and not report.missing
    assert {key.split(".")[1] for key in report.new if key.startswith("backbone.")} == {"fast", "laterals"}
    clips = torch.randn(1, 3, 16, 64, 64)
    want = stage_outputs(theirs.blocks, 1, clips[:, :, ::4])
    with torch.no_grad():
        have = ours.backbone(clips)
    for (stage, _), tensor in want.items():
        torch.testing.assert_close(have[stage][0], tensor, rtol=1e-5, atol=1e-5)


def test_mmaction2s_default_laterals_have_neither_norm_nor_relu(tmp_path):
    """FUSION_NORM and FUSION_RELU False: bare convolutions, as in the release."""
    torch.manual_seed(0)
    theirs = models.their_slowfast()
    state = {
        rules.mmaction(entry): theirs.state_dict()[rules.pytorchvideo(entry)]
        for entry in rules.entries(50)
        if entry[3] != "bn_lateral"
    }
    for block in theirs.blocks[:4]:
        block.multipathway_fusion.norm = block.multipathway_fusion.activation = torch.nn.Identity()
    ours = models.slowfast(models.config(SLOWFAST__FUSION_NORM=False, SLOWFAST__FUSION_RELU=False))
    torch.save({"state_dict": state}, tmp_path / "weights.pth")
    checkpointer = MESTADCheckpointer(ours.eval())
    checkpointer.load(str(tmp_path / "weights.pth"))
    report = checkpointer.last_report
    assert len(report.loaded) == len(state) == 534
    assert not report.missing and not report.filled and not report.notes
    clips = torch.randn(1, 3, 16, 64, 64)
    want = stage_outputs(theirs.blocks, 2, _paths(clips))
    with torch.no_grad():
        have = ours.backbone(clips)
    for (stage, p), tensor in want.items():
        torch.testing.assert_close(have[stage][p], tensor, rtol=1e-5, atol=1e-5)


class NonLocal(torch.nn.Module):
    """PySlowFast's block, written out: x + BN(out(mean over positions of (theta . phi) g))."""

    def __init__(self, channels):
        super().__init__()
        inner = channels // 2
        self.conv_theta, self.conv_phi, self.conv_g = (torch.nn.Conv3d(channels, inner, 1) for _ in range(3))
        self.conv_out, self.bn = torch.nn.Conv3d(inner, channels, 1), torch.nn.BatchNorm3d(channels)

    def forward(self, x):
        pooled = torch.nn.functional.max_pool3d(x, 2, 2)
        theta, phi, g = self.conv_theta(x), self.conv_phi(pooled), self.conv_g(pooled)
        phi, g = phi.flatten(2), g.flatten(2)
        affinity = torch.einsum("ncthw,ncp->nthwp", theta, phi) / phi.shape[2]
        return x + self.bn(self.conv_out(torch.einsum("nthwp,ncp->ncthw", affinity, g)))


def test_r101_nl_equals_pytorchvideos_stages_and_pyslowfasts_blocks(tmp_path):
    torch.manual_seed(0)
    where = [6, 13, 20]
    theirs = slowfast.slowfast_16x8_r101_50_50(pretrained=False)
    state = {rules.pyslowfast(e): theirs.state_dict()[rules.pytorchvideo(e)] for e in rules.entries(101)}
    blocks = theirs.blocks[3].multipathway_blocks[0].res_blocks
    for index in where:
        added = NonLocal(1024)
        blocks[index] = torch.nn.Sequential(blocks[index], added)
        state |= {f"s4.pathway0_nonlocal{index}.{k}": v for k, v in added.state_dict().items()}
    # Statistics are shaken in place, so that ``state`` has them too.
    models.shake(theirs)
    torch.save({"model_state": state}, tmp_path / "weights.pyth")
    cfg = models.config(
        VIDEO_RESNET__DEPTH=101,
        VIDEO_RESNET__TEMPORAL_BLOCKS=[-1, -1, 6, -1],
        SLOWFAST__FUSION_KERNEL=5,
        NONLOCAL__LOCATIONS=[[], [], where, []],
    )
    ours = models.slowfast(cfg).eval()
    MESTADCheckpointer(ours).load(str(tmp_path / "weights.pyth"))
    clips = torch.randn(1, 3, 16, 64, 64)
    want = stage_outputs(theirs.blocks, 2, _paths(clips))
    with torch.no_grad():
        have = ours.backbone(clips)
    for (stage, p), tensor in want.items():
        # 33 blocks deep, float32 itself is not finer than a share of the largest value.
        scale = float(tensor.abs().max())
        torch.testing.assert_close(have[stage][p] / scale, tensor / scale, rtol=1e-5, atol=1e-5)


def _paths(clips):
    return [clips[:, :, ::4].clone(), clips.clone()]
