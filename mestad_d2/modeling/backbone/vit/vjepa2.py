"""V-JEPA 2 (arXiv 2506.09985) as transformers builds its encoder: self-supervised features, frozen by default.

The package transformers is optional: without it only this backbone is missing.
"""

from __future__ import annotations

import torch
from detectron2.config import CfgNode
from detectron2.layers import ShapeSpec
from detectron2.modeling import BACKBONE_REGISTRY
from torch import Tensor, nn

from mestad_d2.errors import UserError
from mestad_d2.modeling.backbone.library import TUBELET, check_clip, refuse, stage_blocks, variant
from mestad_d2.modeling.backbone.vit.block import LayeredBackbone
from mestad_d2.modeling.backbone.vit.pyramid import SimplePyramid, used_levels
from mestad_d2.modeling.backbone.vit.videomae import ViTSpec

PATCH = 16
VARIANTS = {
    "l": ViTSpec(1024, 16, (6, 6, 6, 6)),
    "h": ViTSpec(1280, 16, (8, 8, 8, 8)),
    "g": ViTSpec(1408, 22, (10, 10, 10, 10), mlp_ratio=48 / 11),
}


class GridPositions:
    """Frame, row and column of every token of a clip's own grid.

    The library takes them from ``config.crop_size``, a square, whatever the clip's size: other sizes would silently
    get the rotation angles of other positions.
    """

    def __init__(self) -> None:
        self.grid = (1, 1, 1)

    def __call__(self, tokens: Tensor, masks: Tensor | None = None) -> tuple[Tensor, Tensor, Tensor]:
        """Return three indices (T * H * W,) in token order; pre-training masks are not supported."""
        axes = (torch.arange(size, device=tokens.device) for size in self.grid)
        frame, row, column = torch.meshgrid(*axes, indexing="ij")
        return frame.flatten(), row.flatten(), column.flatten()


class VJEPA2(LayeredBackbone):
    """Tokens of V-JEPA 2 as res2..res5 (see ``SimplePyramid``), one frame of features for every two of the clip.

    Clips of T a multiple of 4, H and W multiples of 32. Positions are rotations and fit any grid. Tubelet t holds
    frames 2t and 2t + 1: index T / 4, half of res4's, begins with the key frame. The library's keys are under
    ``vjepa2``, our own under ``pyramid``.
    """

    STEM, BLOCKS = ("vjepa2.encoder.embeddings",), "vjepa2.encoder.layer"

    def __init__(self, encoder: nn.Module, pyramid: SimplePyramid, frozen_blocks: int = -1) -> None:
        super().__init__()
        # The library's own nesting of names.
        self.vjepa2 = nn.ModuleDict({"encoder": encoder})
        self.pyramid, self.positions = pyramid, GridPositions()
        for layer in encoder.layer:
            layer.attention.get_position_ids = self.positions
        self.freeze(frozen_blocks)

    def forward(self, clips: Tensor) -> dict[str, list[Tensor]]:
        """Compute the features of clips (N, 3, T, H, W).

        Raises:
            UserError: a size that ``check_clip`` refuses.
        """
        check_clip(clips)
        frames, height, width = clips.shape[2:]
        grid = self.positions.grid = (frames // TUBELET, height // PATCH, width // PATCH)
        tokens = self.vjepa2["encoder"](pixel_values_videos=clips.transpose(1, 2)).last_hidden_state
        return self.pyramid(tokens.transpose(1, 2).unflatten(2, grid))

    def output_shape(self) -> dict[str, ShapeSpec]:
        """Return the channels and spatial stride of every level."""
        return self.pyramid.output_shape()


@BACKBONE_REGISTRY.register()
def build_vjepa2_backbone(cfg: CfgNode, input_shape: ShapeSpec | None = None) -> VJEPA2:
    """Build V-JEPA 2 from ``MODEL.VIDEO_BACKBONE``, with the levels that FPN and action head use.

    Raises:
        UserError: transformers is not installed or has no V-JEPA 2, or an unknown variant.
    """
    try:
        from transformers import VJEPA2Config, VJEPA2Model
    except ImportError as error:
        raise UserError(
            "MODEL.BACKBONE.NAME build_vjepa2_backbone: needs the package transformers, 4.53 or newer; "
            "pip install -U transformers"
        ) from error
    refuse(cfg, "CHECKPOINTING")
    node, spec = cfg.MODEL.VIDEO_BACKBONE, variant(cfg, VARIANTS)
    width = node.WIDTH or spec.width
    config = VJEPA2Config(
        patch_size=PATCH,
        tubelet_size=TUBELET,
        hidden_size=width,
        num_attention_heads=spec.heads if width % spec.heads == 0 else 1,
        num_hidden_layers=sum(stage_blocks(cfg, spec.blocks)),
        mlp_ratio=spec.mlp_ratio,
        drop_path_rate=node.DROP_PATH,
        # The predictor is discarded; a small one is built faster.
        pred_num_hidden_layers=1,
    )
    encoder = VJEPA2Model(config).encoder
    return VJEPA2(encoder, SimplePyramid(width, PATCH, used_levels(cfg)), node.FROZEN_BLOCKS)
