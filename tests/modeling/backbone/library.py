"""Backbones of other libraries in their places, for tests of features, gradients and weights."""

from __future__ import annotations

from pathlib import Path

import torch
from detectron2.config import CfgNode
from detectron2.modeling import build_backbone
from tiny import ROOT
from torch import Tensor, nn

from mestad_d2 import modeling  # noqa: F401  (registers the backbones)
from mestad_d2.checkpoint import LoadReport, MESTADCheckpointer
from mestad_d2.load_config import setup_cfg

SMALL = ("MODEL.VIDEO_BACKBONE.WIDTH", 24, "MODEL.VIDEO_BACKBONE.STAGE_BLOCKS", "[1,1,1,1]")


def cfg_of(name: str, *opts: object) -> CfgNode:
    """A config of AVA v2.2 with options KEY, VALUE, ..."""
    opts = ("MODEL.DEVICE", "cpu", *opts)
    return setup_cfg(ROOT / "configs" / "AVA-v2.2" / f"{name}.yaml", [*map(str, opts)])


def backbone(name: str, *opts: object) -> nn.Module:
    """The backbone of a config of AVA v2.2."""
    torch.manual_seed(0)
    return build_backbone(cfg_of(name, *opts))


class Whole(nn.Module):
    """A backbone in its place in the whole model, with a head."""

    def __init__(self, backbone: nn.Module) -> None:
        super().__init__()
        self.backbone = backbone
        self.roi_heads = nn.ModuleDict({"classifier": nn.Linear(4, 80)})


def load(backbone: nn.Module, state: dict[str, Tensor], path: Path, wrapper: str | None = None) -> LoadReport:
    """Save a library's state dict as a file and load it through the checkpointer."""
    torch.save({wrapper: state} if wrapper else state, path)
    checkpointer = MESTADCheckpointer(Whole(backbone))
    checkpointer.load(str(path), checkpointables=[])
    return checkpointer.last_report


def shake(model: nn.Module) -> nn.Module:
    """Random values everywhere, so that a swapped or forgotten tensor shows; in eval mode."""
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for name, tensor in model.state_dict().items():
            if not tensor.is_floating_point():
                continue
            noise = torch.randn(tensor.shape, generator=generator)
            if "running_var" in name or tensor.dim() == 1 and "weight" in name:
                tensor.copy_(1 + 0.1 * noise.abs())
            else:
                tensor.add_(0.02 * noise)
    return model.eval()


def outputs(model: nn.Module, layers: dict[str, nn.Module], clips: Tensor) -> dict[str, Tensor]:
    """What a library's model gives at some of its layers."""
    found = {}
    hooks = [
        layer.register_forward_hook(lambda _m, _i, out, name=name: found.update({name: out}))
        for name, layer in layers.items()
    ]
    with torch.no_grad():
        model(clips)
    for hook in hooks:
        hook.remove()
    return found


def check_shapes(model: nn.Module, clips: Tensor, frames: dict[str, int]) -> None:
    """Channels and strides are those that ``output_shape`` tells, frames those of ``frames``."""
    features = model(clips)
    shapes = model.output_shape()
    assert features.keys() == shapes.keys() == frames.keys()
    height, width = clips.shape[3:]
    for name, shape in shapes.items():
        (x,) = features[name]
        assert x.shape[1:] == (shape.channels, frames[name], height // shape.stride, width // shape.stride)


def check_gradients(model: nn.Module, clips: Tensor) -> None:
    """Every parameter has a gradient that is not zero, once none is at a start value of zero."""
    shake(model)
    sum((x**2 * torch.rand_like(x)).sum() for (x,) in model(clips).values()).backward()
    grads = {name: p.grad for name, p in model.named_parameters()}
    assert not [name for name, grad in grads.items() if grad is None or not grad.isfinite().all()]
    assert not [name for name, grad in grads.items() if not grad.any()]
