"""Names of every format against the rules written out, and those against the libraries' own models."""

from __future__ import annotations

from pathlib import Path

import models
import pytest
import rules
import torch
from pytorchvideo.models import hub

from mestad_d2.checkpoint import MESTADCheckpointer
from mestad_d2.checkpoint.formats import caffe2, mmaction, pyslowfast, pytorchvideo, recognise

R101_NL = {4: [6, 13, 20]}


def r101_nl():
    return models.config(
        VIDEO_RESNET__DEPTH=101,
        VIDEO_RESNET__WIDTH=16,
        VIDEO_RESNET__TEMPORAL_BLOCKS=[-1, -1, 6, -1],
        SLOWFAST__FUSION_KERNEL=5,
        NONLOCAL__LOCATIONS=[[], [], [6, 13, 20], []],
    )


NETWORKS = {
    "SlowFast R50": (lambda: models.slowfast(models.config(VIDEO_RESNET__WIDTH=16)), 50, True, None),
    "SlowOnly R50": (lambda: models.slow(models.config(VIDEO_RESNET__WIDTH=16)), 50, False, None),
    "SlowFast R101-NL": (lambda: models.slowfast(r101_nl()), 101, True, R101_NL),
}
WRITERS = {
    "PySlowFast": lambda entry, fast: rules.pyslowfast(entry),
    "Caffe2": lambda entry, fast: rules.caffe2(entry),
    "mmaction2": lambda entry, fast: rules.mmaction(entry, fast=fast),
    "pytorchvideo": lambda entry, fast: rules.pytorchvideo(entry, fast=fast),
}


def uncounted(state):
    return {key: tensor for key, tensor in state.items() if not key.endswith("num_batches_tracked")}


@pytest.mark.parametrize("fast", [True, False])
@pytest.mark.parametrize("depth", [50, 101])
def test_rules_name_exactly_the_tensors_of_pytorchvideos_models(fast, depth):
    theirs = models.their_slowfast(depth=depth) if fast else models.their_slow(depth=depth)
    written = {rules.pytorchvideo(entry, fast=fast) for entry in rules.entries(depth, fast)}
    assert written == {key for key in uncounted(theirs.state_dict()) if ".proj." not in key}


@pytest.mark.parametrize("name", NETWORKS)
def test_rules_name_exactly_the_tensors_of_our_backbones(name):
    build, depth, fast, non_local = NETWORKS[name]
    written = {rules.ours(entry, non_local) for entry in rules.entries(depth, fast, non_local)}
    assert written == {key for key in uncounted(build().state_dict()) if key.startswith("backbone.")}


def test_rules_agree_with_names_that_the_libraries_document():
    blobs = set(map(rules.caffe2, rules.entries(101, True, {**R101_NL, 3: [1]})))
    for name in (
        "nonlocal_conv3_1_theta_w",
        "nonlocal_conv4_6_bn_s",
        "t_pool1_subsample_bn_rm",
        "t_res4_22_branch2c_bn_subsample_w",
        "res4_4_branch2c_bn_b",
        "res_conv1_bn_riv",
        "t_res2_0_branch1_w",
    ):
        assert name in blobs
    keys = set(map(rules.pyslowfast, rules.entries(101, True, R101_NL)))
    for name in (
        "s1.pathway0_stem.conv.weight",
        "s4.pathway0_nonlocal6.conv_g.bias",
        "s1_fuse.bn.running_mean",
    ):
        assert name in keys


@pytest.mark.parametrize("name", NETWORKS)
@pytest.mark.parametrize("style", WRITERS)
def test_every_tensor_of_the_backbone_goes_to_its_place(style, name, tmp_path):
    build, depth, fast, non_local = NETWORKS[name]
    if style == "pytorchvideo" and non_local:
        pytest.skip("no builder of pytorchvideo makes non-local blocks")
    source, target = models.shake(build()), build()
    state = source.state_dict()
    written = {
        WRITERS[style](entry, fast): state[rules.ours(entry, non_local)]
        for entry in rules.entries(depth, fast, non_local)
    }
    assert len(written) == len(list(rules.entries(depth, fast, non_local)))
    assert recognise(written).NAME == style
    torch.save({"state_dict": written}, tmp_path / "weights.bin")
    checkpointer = MESTADCheckpointer(target)
    checkpointer.load(str(tmp_path / "weights.bin"))
    report = checkpointer.last_report
    assert len(report.loaded) == len(written)
    assert not report.missing and not report.dropped and not report.filled
    for key, tensor in uncounted(target.state_dict()).items():
        if key.startswith("backbone."):
            assert torch.equal(tensor, state[key]), key


HUB = {
    "slow_r50": (hub.resnet.slow_r50, models.slow, {}, 265),
    "slow_r50_detection": (hub.resnet.slow_r50_detection, models.slow, {}, 267),
    "slowfast_r50": (hub.slowfast.slowfast_r50, models.slowfast, {}, 550),
    "slowfast_r50_detection": (hub.slowfast.slowfast_r50_detection, models.slowfast, {}, 552),
    "slowfast_r101": (
        hub.slowfast.slowfast_r101,
        models.slowfast,
        {"VIDEO_RESNET__DEPTH": 101, "SLOWFAST__FUSION_KERNEL": 5},
        1060,
    ),
    "slowfast_16x8_r101_50_50": (
        hub.slowfast.slowfast_16x8_r101_50_50,
        models.slowfast,
        {
            "VIDEO_RESNET__DEPTH": 101,
            "VIDEO_RESNET__TEMPORAL_BLOCKS": [-1, -1, 6, -1],
            "SLOWFAST__FUSION_KERNEL": 5,
        },
        1060,
    ),
    "c2d_r50": (hub.resnet.c2d_r50, models.slow, {"VIDEO_RESNET__TEMPORAL_KERNELS": [1, 1, 1, 1, 1]}, 265),
}


@pytest.mark.parametrize("name", HUB)
def test_every_fitting_model_of_pytorchvideos_hub_loads_whole(name, tmp_path):
    """With the keys that docs/weights.md names for it."""
    theirs, ours, keys, tensors = HUB[name]
    torch.save({"model_state": theirs(pretrained=False).state_dict()}, tmp_path / "hub.pyth")
    checkpointer = MESTADCheckpointer(ours(models.config(**keys)))
    checkpointer.load(str(tmp_path / "hub.pyth"))
    report = checkpointer.last_report
    assert not report.missing and len(report.loaded) == tensors
    # Kinetics classifiers do not fit; detection models have 80 actions, as ours, and bring their head.
    assert len(report.dropped) == (0 if "detection" in name else 2)
    assert all(".proj." in key for key in report.dropped)


def test_a_caffe2_pickle_with_solver_state_loads_without_noise(tmp_path: Path):
    import pickle

    source = models.shake(models.slow(models.config(VIDEO_RESNET__WIDTH=16)))
    state = source.state_dict()
    blobs = {rules.caffe2(e): state[rules.ours(e)].numpy() for e in rules.entries(50, False)}
    blobs |= {key + "_momentum": blob for key, blob in blobs.items()}
    blobs |= {"lr": torch.ones(1).numpy(), "model_iter": torch.ones(1, dtype=torch.int64).numpy()}
    blobs |= {"pred_w": torch.ones(400, 512).numpy(), "pred_b": torch.ones(400).numpy()}
    with open(tmp_path / "SLOWONLY.pkl", "wb") as file:
        pickle.dump({"blobs": blobs}, file, protocol=2)
    target = models.slow(models.config(VIDEO_RESNET__WIDTH=16))
    checkpointer = MESTADCheckpointer(target)
    checkpointer.load(str(tmp_path / "SLOWONLY.pkl"))
    assert set(checkpointer.last_report.dropped) == {"pred_w", "pred_b"}
    assert len(checkpointer.last_report.loaded) == 265
    assert torch.equal(
        target.backbone.slow.res5.res_blocks[2].branch2.norm_c.running_var,
        source.backbone.slow.res5.res_blocks[2].branch2.norm_c.running_var,
    )


def test_formats_do_not_mistake_each_other():
    for style, write in WRITERS.items():
        state = dict.fromkeys(write(entry, True) for entry in rules.entries())
        recognised = [f.NAME for f in (pytorchvideo, pyslowfast, caffe2, mmaction) if f.recognises(state)]
        assert recognised == [style]
