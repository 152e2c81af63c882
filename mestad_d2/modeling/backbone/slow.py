"""SlowOnly: the slow pathway of SlowFast alone."""

from __future__ import annotations

from collections.abc import Sequence

from detectron2.config import CfgNode
from detectron2.layers import ShapeSpec
from detectron2.modeling import BACKBONE_REGISTRY, Backbone
from torch import Tensor

from mestad_d2.modeling.backbone.non_local import insert_non_local
from mestad_d2.modeling.backbone.pathway import STAGES, Pathway, slow_spec


class SlowOnly(Backbone):
    """Features of one pathway: stage name -> [(N, C, T, H, W)]."""

    def __init__(self, pathway: Pathway) -> None:
        super().__init__()
        self.slow = pathway
        # Pooling over time (C2D, I3D) restarts with each clip, so one pass is impossible.
        if pathway.time_stride == 1:
            self.time_strides = (1,)

    def forward(self, clips: Tensor) -> dict[str, list[Tensor]]:
        """Compute the features of clips (N, 3, T, H, W)."""
        return {name: [x] for name, x in self.slow(clips).items()}

    def forward_phases(self, frames: Tensor, phases: Sequence[int]) -> list[dict[str, list[Tensor]]]:
        """Compute features of frames (N, 3, T, H, W), any T; every frame is a step, so 0 is the only phase."""
        return [self(frames[:, :, phase:]) for phase in phases]

    def output_shape(self) -> dict[str, ShapeSpec]:
        """Return the channels and spatial stride of every stage."""
        slow = self.slow
        return {name: ShapeSpec(channels=slow.channels[name], stride=slow.strides[name]) for name in STAGES}


@BACKBONE_REGISTRY.register()
def build_slow_backbone(cfg: CfgNode, input_shape: ShapeSpec | None = None) -> SlowOnly:
    """Build SlowOnly from ``MODEL.VIDEO_RESNET`` and ``MODEL.NONLOCAL``."""
    pathway = Pathway(slow_spec(cfg))
    insert_non_local(pathway, cfg)
    return SlowOnly(pathway)
