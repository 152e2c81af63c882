"""What is dropped, filled, adapted or missing, and what a user is told."""

from __future__ import annotations

import models
import pytest
import rules
import torch
from torch import nn

from mestad_d2.checkpoint import MESTADCheckpointer
from mestad_d2.checkpoint.prefix import find_prefixes
from mestad_d2.errors import UserError

SMALL = {"VIDEO_RESNET__WIDTH": 16}


def save(state, tmp_path, name="weights.pth", wrapper="state_dict"):
    torch.save({wrapper: state}, tmp_path / name)
    return str(tmp_path / name)


def written(model, style, fast=True, skip=lambda entry: False, **kwargs):
    state = model.state_dict()
    return {
        style(entry, **kwargs): state[rules.ours(entry)]
        for entry in rules.entries(50, fast)
        if not skip(entry)
    }


def failure(model, path, cfg=None):
    before = {key: tensor.clone() for key, tensor in model.state_dict().items()}
    with pytest.raises(UserError) as caught:
        MESTADCheckpointer(model, cfg=cfg).load(path)
    assert "\n" not in str(caught.value) and path in str(caught.value)
    assert all(torch.equal(tensor, before[key]) for key, tensor in model.state_dict().items())
    return str(caught.value)


def test_laterals_without_norm_become_identity(tmp_path):
    """mmaction2's default; the tensors of every other layer still come from the file."""
    source = models.slowfast(models.config(**SMALL))
    state = written(source, rules.mmaction, skip=lambda entry: entry[3] == "bn_lateral")
    model = models.shake(models.slowfast(models.config(**SMALL)), seed=3)
    checkpointer = MESTADCheckpointer(model)
    checkpointer.load(save(state, tmp_path))
    report = checkpointer.last_report
    assert len(report.filled) == 16 and not report.missing and len(report.loaded) == 550 - 16
    x = torch.randn(2, 4, 3, 2, 2)
    norm = model.backbone.laterals["stem"].norm.eval()
    torch.testing.assert_close(norm(x), x, rtol=1e-5, atol=1e-5)
    assert "identity norm" in report.table()
    assert "MODEL.SLOWFAST.FUSION_NORM False (here True), MODEL.SLOWFAST.FUSION_RELU False" in report.table()


@pytest.mark.parametrize(
    ("style", "norm_in_file", "norm", "relu", "advice"),
    [
        (rules.pyslowfast, True, True, True, None),
        (rules.pyslowfast, True, False, True, "MODEL.SLOWFAST.FUSION_NORM True (here False); set"),
        (rules.caffe2, True, True, False, "MODEL.SLOWFAST.FUSION_RELU True (here False); set"),
        (rules.mmaction, False, False, False, None),
        (rules.mmaction, False, True, False, "MODEL.SLOWFAST.FUSION_NORM False (here True); set"),
        # The ReLU comes with lateral_norm; the models with it are SlowFast's own.
        (rules.mmaction, True, True, True, None),
        (rules.mmaction, True, True, False, "MODEL.SLOWFAST.FUSION_RELU True (here False); set"),
    ],
)
def test_other_laterals_than_the_files_are_told(style, norm_in_file, norm, relu, advice, tmp_path, caplog):
    source = models.slowfast(models.config(**SMALL))
    path = save(written(source, style, skip=lambda e: e[3] == "bn_lateral" and not norm_in_file), tmp_path)
    model = models.slowfast(models.config(**SMALL, SLOWFAST__FUSION_NORM=norm, SLOWFAST__FUSION_RELU=relu))
    checkpointer = MESTADCheckpointer(model)
    checkpointer.load(path)
    notes = checkpointer.last_report.notes
    assert not checkpointer.last_report.missing and len(notes) == (advice is not None)
    if advice:
        assert advice in notes[0] and notes[0] in caplog.text


@pytest.mark.parametrize(("style", "differs"), [(rules.mmaction, True), (rules.pyslowfast, False)])
def test_weights_for_other_pixels_are_told(style, differs, tmp_path):
    model = models.slowfast(models.config(**SMALL))
    model.register_buffer("pixel_mean", torch.full((3, 1, 1, 1), 114.75), persistent=False)
    model.register_buffer("pixel_std", torch.full((3, 1, 1, 1), 57.375), persistent=False)
    checkpointer = MESTADCheckpointer(model)
    checkpointer.load(save(written(model, style), tmp_path))
    assert ("PIXEL_MEAN [123.675" in checkpointer.last_report.table()) == differs


def test_non_local_blocks_without_biases_get_zeros(tmp_path):
    cfg = models.config(**SMALL, NONLOCAL__LOCATIONS=[[], [1], [], []])
    source, where = models.slow(cfg), {3: [1]}
    state = {
        rules.mmaction(e, fast=False): source.state_dict()[rules.ours(e, where)]
        for e in rules.entries(50, False, where)
        if (e[3], e[4]) != ("out", "bias")
    }
    model = models.slow(cfg)
    checkpointer = MESTADCheckpointer(model)
    checkpointer.load(save(state, tmp_path))
    assert list(checkpointer.last_report.filled) == [
        "backbone.slow.res3.res_blocks.1.non_local.conv_out.bias"
    ]
    assert not model.backbone.slow.res3.res_blocks[1].non_local.conv_out.bias.any()


@pytest.mark.parametrize(
    ("build", "keys", "clue"),
    [
        (models.slowfast, {"VIDEO_RESNET__DEPTH": 101}, "MODEL.VIDEO_RESNET.DEPTH"),
        (models.slowfast, {"SLOWFAST__FUSION_KERNEL": 5}, "MODEL.SLOWFAST.FUSION_KERNEL"),
        (models.slowfast, {"VIDEO_RESNET__TEMPORAL_BLOCKS": [-1, -1, 2, -1]}, "TEMPORAL_BLOCKS"),
        (models.slowfast, {"NONLOCAL__LOCATIONS": [[], [1], [], []]}, "MODEL.NONLOCAL.LOCATIONS"),
    ],
)
def test_a_gap_in_the_backbone_is_an_error_that_names_the_key(build, keys, clue, tmp_path):
    path = save(written(models.slowfast(models.config(**SMALL)), rules.pyslowfast), tmp_path)
    line = failure(build(models.config(**SMALL, **keys)), path)
    assert clue in line and "MODEL.WEIGHTS_ALLOW_MISSING" in line and "PySlowFast" in line


def test_our_own_files_with_other_laterals(tmp_path):
    plain, bare = (models.config(**SMALL, SLOWFAST__FUSION_NORM=norm) for norm in (True, False))
    path = save(models.slowfast(bare).state_dict(), tmp_path, wrapper="model")
    assert "set MODEL.SLOWFAST.FUSION_NORM False" in failure(models.slowfast(plain), path)
    path = save(models.slowfast(plain).state_dict(), tmp_path, wrapper="model")
    checkpointer = MESTADCheckpointer(models.slowfast(bare))
    checkpointer.load(path)
    assert "set MODEL.SLOWFAST.FUSION_NORM True" in checkpointer.last_report.table()


def test_a_gap_may_be_allowed(tmp_path):
    path = save(written(models.slowfast(models.config(**SMALL)), rules.pyslowfast), tmp_path)
    cfg = models.config(**SMALL, SLOWFAST__FUSION_KERNEL=5, WEIGHTS_ALLOW_MISSING=True)
    checkpointer = MESTADCheckpointer(models.slowfast(cfg), cfg=cfg)
    checkpointer.load(path)
    assert len(checkpointer.last_report.missing) == 4
    assert "missing" in checkpointer.last_report.table()


def test_slow_weights_in_slowfast_need_the_request(tmp_path):
    path = save(slow_state(), tmp_path)
    line = failure(models.slowfast(models.config(**SMALL)), path)
    assert "MODEL.WEIGHTS_SLOW_INTO_SLOWFAST" in line
    cfg = models.config(**SMALL, WEIGHTS_SLOW_INTO_SLOWFAST=True)
    checkpointer = MESTADCheckpointer(models.slowfast(cfg), cfg=cfg)
    checkpointer.load(path)
    assert len(checkpointer.last_report.adapted) == 8


def slow_state():
    state = models.slow(models.config(**SMALL)).state_dict()
    return {rules.mmaction(e, fast=False): state[rules.ours(e)] for e in rules.entries(50, False)}


def test_our_slow_only_model_goes_into_slowfast_too(tmp_path):
    source = models.slow(models.config(**SMALL))
    path = save(source.state_dict(), tmp_path, wrapper="model")
    cfg = models.config(**SMALL, WEIGHTS_SLOW_INTO_SLOWFAST=True)
    model = models.slowfast(cfg)
    MESTADCheckpointer(model, cfg=cfg).load(path)
    have = model.backbone.slow.res4.res_blocks[0].branch2.conv_a.weight
    want = source.backbone.slow.res4.res_blocks[0].branch2.conv_a.weight
    assert torch.equal(have[:, : want.shape[1]], want) and not have[:, want.shape[1] :].any()


@pytest.mark.parametrize("norm", ["FrozenBN", "SyncBN"])
def test_statistics_reach_other_norms(norm, tmp_path):
    source = models.shake(models.slow(models.config(**SMALL)))
    cfg = models.config(**SMALL, VIDEO_RESNET__NORM=norm)
    for name, state in (("own", source.state_dict()), ("other", written(source, rules.caffe2, False))):
        model = models.slow(cfg)
        checkpointer = MESTADCheckpointer(model)
        checkpointer.load(save(state, tmp_path, name, "model"))
        assert len(checkpointer.last_report.missing) == 0
        for leaf in rules.BN:
            key = f"backbone.slow.res5.res_blocks.2.branch2.norm_c.{leaf}"
            assert torch.equal(model.state_dict()[key], source.state_dict()[key])


def test_a_wrapper_of_distributed_training_is_taken_off(tmp_path):
    source = models.slow(models.config(**SMALL))
    state = {"module." + key: tensor for key, tensor in source.state_dict().items()}
    model = models.slow(models.config(**SMALL))
    MESTADCheckpointer(model).load(save(state, tmp_path, wrapper="model"))
    assert torch.equal(model.backbone.slow.stem.conv.weight, source.backbone.slow.stem.conv.weight)


def test_convolutions_without_axes_of_size_one(tmp_path):
    """Caffe2 may write a 1x1x1 convolution as a matrix."""
    source = models.slow(models.config(**SMALL))
    blobs = written(source, rules.caffe2, False)
    blobs["res3_1_branch2c_w"] = blobs["res3_1_branch2c_w"].flatten(1)
    model = models.slow(models.config(**SMALL))
    MESTADCheckpointer(model).load(save(blobs, tmp_path, wrapper="blobs"))
    layer = model.backbone.slow.res3.res_blocks[1].branch2.conv_c
    assert torch.equal(layer.weight, source.backbone.slow.res3.res_blocks[1].branch2.conv_c.weight)


class Library(nn.Module):
    """A network of some library, with a classifier."""

    def __init__(self):
        super().__init__()
        self.features = nn.Sequential(nn.Conv3d(3, 4, 1), nn.BatchNorm3d(4))
        self.head = nn.Linear(4, 400)


class Around(nn.Module):
    """Ours around that library's features."""

    def __init__(self):
        super().__init__()
        self.backbone = nn.ModuleDict({"net": nn.ModuleDict({"features": Library().features})})


def test_a_librarys_own_state_dict_loads_into_a_backbone_that_holds_it(tmp_path):
    library, model = Library(), Around()
    checkpointer = MESTADCheckpointer(model)
    checkpointer.load(save({"model." + k: v for k, v in library.state_dict().items()}, tmp_path))
    assert torch.equal(model.backbone["net"]["features"][0].weight, library.features[0].weight)
    assert len(checkpointer.last_report.loaded) == 6 and len(checkpointer.last_report.dropped) == 2


def test_prefixes():
    assert find_prefixes(["a.w", "b.w"], ["backbone.x.a.w", "backbone.x.b.w", "head.w"]) == (
        "",
        "backbone.x.",
    )
    assert find_prefixes(["a.w", "b.w"], ["c.w"]) is None


def test_an_unknown_network_is_one_line(tmp_path):
    path = save({"encoder.7.weight": torch.ones(2)}, tmp_path)
    assert "no known format" in failure(models.slow(models.config(**SMALL)), path)


def test_a_file_without_tensors_is_one_line(tmp_path):
    assert "holds no weights" in failure(models.slow(models.config(**SMALL)), save({"a": 1}, tmp_path))
