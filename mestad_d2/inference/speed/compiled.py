"""A backbone through torch.compile, which never makes a video fail or wait again and again."""

from __future__ import annotations

import logging

import torch
from torch import Tensor, nn

logger = logging.getLogger(__name__)

# Sizes of clips that are compiled, each for up to a minute; further ones run uncompiled.
MAX_SIZES = 4


class CompiledBackbone(nn.Module):
    """Compile the backbone per clip size; run it uncompiled where that is slower or impossible.

    Uncompiled are the last, smaller batch or shorter segment of a video, sizes after the first
    ``MAX_SIZES``, and everything, after one warning, where the compiler fails or is absent.
    """

    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.inner = inner
        self.sizes: dict[tuple[int, ...], int] = {}
        self.works = True
        # Constant weights let oneDNN lay them out once and take ReLU and sum into the convolution.
        self.freezing = next(inner.parameters()).device.type == "cpu"
        # Dynamic shapes would make every convolution slower.
        self._compiled = torch.compile(lambda clips: inner(clips), dynamic=False)

    def around(self, inner: nn.Module) -> CompiledBackbone:
        """Return another backbone, compiled likewise."""
        return CompiledBackbone(inner)

    def forward(self, clips: Tensor) -> dict[str, list[Tensor]]:
        """Compute the features of clips (N, 3, T, H, W)."""
        if not (self.works and self._worth(clips.shape)):
            return self.inner(clips)
        # Not with the module: the compiler takes as long to import as torch, and few programs use it.
        from torch._dynamo.exc import TorchDynamoException
        from torch._inductor import config as inductor_config

        try:
            # Not an option of torch.compile: tracing, which precedes the compiler, must know it too.
            with inductor_config.patch(freezing=self.freezing), torch.no_grad():
                return self._compiled(clips)
        except (TorchDynamoException, RuntimeError) as error:
            self.works = False
            reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
            logger.warning("the backbone runs uncompiled: %s", reason)
            return self.inner(clips)

    def _worth(self, shape: torch.Size) -> bool:
        amount, size = shape[0] * shape[2], (shape[1], *shape[3:])
        if size in self.sizes:
            self.sizes[size] = max(amount, self.sizes[size])
            return amount == self.sizes[size]
        if len(self.sizes) == MAX_SIZES:
            return False
        self.sizes[size] = amount
        return True
