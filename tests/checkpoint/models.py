"""Small backbones of ours and of pytorchvideo that are the same network, for tests of weights."""

from __future__ import annotations

import torch
from detectron2.config import CfgNode, get_cfg
from detectron2.layers import ShapeSpec
from detectron2.modeling import BACKBONE_REGISTRY
from pytorchvideo.models.resnet import create_resnet
from pytorchvideo.models.slowfast import create_slowfast
from torch import nn

from mestad_d2 import modeling  # noqa: F401  (registers the backbones)
from mestad_d2.config import add_mestad_config

BLOCKS = {50: (3, 4, 6, 3), 101: (3, 4, 23, 3)}


def config(**keys: object) -> CfgNode:
    """A config with the classifier's res5 (stride 2, no dilation), so that stages equal pytorchvideo's."""
    cfg = get_cfg()
    add_mestad_config(cfg)
    cfg.MODEL.VIDEO_RESNET.RES5_STRIDE, cfg.MODEL.VIDEO_RESNET.RES5_DILATION = 2, 1
    for key, value in keys.items():
        node, *path = cfg.MODEL, *key.split("__")
        for part in path[:-1]:
            node = node[part]
        node[path[-1]] = value
    return cfg


class Wrapped(nn.Module):
    """A backbone in its place in the whole model, with a head."""

    def __init__(self, backbone: nn.Module, features: int, actions: int = 80) -> None:
        super().__init__()
        self.backbone = backbone
        self.roi_heads = nn.ModuleDict({"classifier": nn.Linear(features, actions)})


def slow(cfg: CfgNode, actions: int = 80) -> Wrapped:
    """Our SlowOnly."""
    backbone = BACKBONE_REGISTRY.get("build_slow_backbone")(cfg, ShapeSpec(channels=3))
    return Wrapped(backbone, cfg.MODEL.VIDEO_RESNET.WIDTH * 32, actions)


def slowfast(cfg: CfgNode, actions: int = 80) -> Wrapped:
    """Our SlowFast."""
    backbone = BACKBONE_REGISTRY.get("build_slowfast_backbone")(cfg, ShapeSpec(channels=3))
    width = cfg.MODEL.VIDEO_RESNET.WIDTH
    return Wrapped(backbone, (width + width // cfg.MODEL.SLOWFAST.BETA_INV) * 32, actions)


def their_slowfast(width: int = 64, depth: int = 50) -> nn.Module:
    """pytorchvideo's classifier with random statistics, in eval mode."""
    return shake(
        create_slowfast(
            model_depth=depth,
            slowfast_conv_channel_fusion_ratio=2,
            stem_dim_outs=(width, width // 8),
            model_num_class=400,
            head_pool_kernel_sizes=((1, 1, 1), (1, 1, 1)),
        )
    )


def their_slow(depth: int = 50) -> nn.Module:
    """pytorchvideo's slow_r50 (the hub's settings) with random statistics, in eval mode."""
    return shake(
        create_resnet(
            model_depth=depth,
            stem_conv_kernel_size=(1, 7, 7),
            stage_conv_a_kernel_size=((1, 1, 1), (1, 1, 1), (3, 1, 1), (3, 1, 1)),
            head_pool_kernel_size=(1, 1, 1),
        )
    )


def shake(model: nn.Module, seed: int = 0) -> nn.Module:
    """Random norms (weights, biases, statistics), so that a swapped tensor shows; in eval mode."""
    generator = torch.Generator().manual_seed(seed)
    for layer in model.modules():
        if isinstance(layer, nn.BatchNorm3d):
            for tensor, low, high in (
                (layer.weight.data, 0.5, 1.0),
                (layer.bias.data, -0.2, 0.2),
                (layer.running_mean, -0.2, 0.2),
                (layer.running_var, 0.5, 1.5),
            ):
                tensor.copy_(torch.empty(tensor.shape).uniform_(low, high, generator=generator))
    return model.eval()
