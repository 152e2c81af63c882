"""Batch norm folded into the convolution before it: the same function in one layer less."""

from __future__ import annotations

import torch
from torch import fx, nn
from torch.nn.utils.fusion import fuse_conv_bn_weights

from mestad_d2.modeling.backbone.norm import FrozenBatchNorm3d

NORMS = (nn.BatchNorm2d, nn.BatchNorm3d, nn.SyncBatchNorm, FrozenBatchNorm3d)
CONVOLUTIONS = (nn.Conv2d, nn.Conv3d)


class _ChildrenAreLeaves(fx.Tracer):
    """Trace one module's own forward, without its children."""

    def is_leaf_module(self, module: nn.Module, name: str) -> bool:
        return True


def fold_batch_norm(model: nn.Module) -> int:
    """Fold, in place, every batch norm whose only input is a convolution that nothing else uses.

    Which norm follows which convolution is read from the traced forward of each module that holds both;
    a module that can't be traced is left as it is. Folded norms become ``nn.Identity``.

    Args:
        model: in eval mode; its float32 weights are replaced.

    Returns:
        the number of folded norms.
    """
    if model.training:
        raise ValueError("batch norm can be folded in eval mode only")
    uses = _uses(model)
    folded = 0
    for parent in list(model.modules()):
        children = dict(parent.named_children())
        if not any(isinstance(child, CONVOLUTIONS) for child in children.values()):
            continue
        for conv, norm in _pairs(parent, children):
            # A layer that two modules share would be folded for one of them and wrong for the other.
            if uses[children[conv]] == uses[children[norm]] == 1:
                _fold(children[conv], children[norm])
                setattr(parent, norm, nn.Identity())
                folded += 1
    return folded


def _uses(model: nn.Module) -> dict[nn.Module, int]:
    """Number of uses of each module in the model."""
    uses: dict[nn.Module, int] = {}
    for parent in model.modules():
        for child in parent._modules.values():
            if child is not None:
                uses[child] = uses.get(child, 0) + 1
    return uses


def _pairs(parent: nn.Module, children: dict[str, nn.Module]) -> list[tuple[str, str]]:
    try:
        graph = _ChildrenAreLeaves().trace(parent)
    except Exception:  # fx refuses control flow with many kinds of errors
        return []
    calls = [node for node in graph.nodes if node.op == "call_module"]
    targets = [node.target for node in calls]
    return [
        (node.args[0].target, node.target)
        for node in calls
        if isinstance(children.get(node.target), NORMS)
        and isinstance(node.args[0], fx.Node)
        and isinstance(children.get(str(node.args[0].target)), CONVOLUTIONS)
        and len(node.args[0].users) == 1
        and targets.count(node.target) == targets.count(node.args[0].target) == 1
    ]


@torch.no_grad()
def _fold(conv: nn.Module, norm: nn.Module) -> None:
    conv.weight, conv.bias = fuse_conv_bn_weights(
        conv.weight, conv.bias, norm.running_mean, norm.running_var, norm.eps, norm.weight, norm.bias
    )
