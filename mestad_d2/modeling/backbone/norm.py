"""Batch norm of video features: trainable, frozen or synchronised (detectron2's own are 2-D)."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from mestad_d2.errors import UserError


class FrozenBatchNorm3d(nn.Module):
    """Batch norm with fixed statistics and affine parameters, all of them buffers.

    Keys in a state dict are those of ``nn.BatchNorm3d`` without ``num_batches_tracked``.
    """

    def __init__(self, num_features: int, eps: float = 1e-5, momentum: float | None = None) -> None:
        super().__init__()
        self.num_features, self.eps = num_features, eps
        self.register_buffer("weight", torch.ones(num_features))
        self.register_buffer("bias", torch.zeros(num_features))
        self.register_buffer("running_mean", torch.zeros(num_features))
        self.register_buffer("running_var", torch.ones(num_features))

    def forward(self, x: Tensor) -> Tensor:
        """Compute the normalise (N, C, T, H, W)."""
        return nn.functional.batch_norm(
            x, self.running_mean, self.running_var, self.weight, self.bias, training=False, eps=self.eps
        )

    def _load_from_state_dict(self, state_dict: dict, prefix: str, *args: object) -> None:
        state_dict.pop(prefix + "num_batches_tracked", None)
        super()._load_from_state_dict(state_dict, prefix, *args)

    def extra_repr(self) -> str:
        """Return the text that is shown when a model is printed."""
        return f"{self.num_features}, eps={self.eps}"


NORMS = {"BN": nn.BatchNorm3d, "FrozenBN": FrozenBatchNorm3d, "SyncBN": nn.SyncBatchNorm}


def video_norm(name: str, num_features: int, eps: float = 1e-5, momentum: float = 0.1) -> nn.Module:
    """Build a norm layer for (N, C, T, H, W) by its config name.

    Raises:
        UserError: an unknown name.
    """
    if name not in NORMS:
        raise UserError(f"MODEL.VIDEO_RESNET.NORM: {name!r} is unknown; use one of {', '.join(NORMS)}")
    return NORMS[name](int(num_features), eps=eps, momentum=momentum)
