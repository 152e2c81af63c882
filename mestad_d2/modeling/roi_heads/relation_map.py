"""The actor-centric relation network in the form that mmaction2 trains: the relation map itself is classified."""

from __future__ import annotations

from collections import OrderedDict

from detectron2.config import CfgNode, configurable
from torch import Tensor, nn
from torch.nn import functional as F

from mestad_d2.modeling.backbone.norm import video_norm
from mestad_d2.modeling.roi_heads.action_heads import ROI_ACTION_PREDICTOR_REGISTRY, LinearActionHead


def _layer(inputs: int, outputs: int, kernel: int, norm: str) -> nn.Sequential:
    conv = nn.Conv3d(inputs, outputs, (1, kernel, kernel), padding=(0, kernel // 2, kernel // 2), bias=False)
    nn.init.kaiming_normal_(conv.weight, mode="fan_out", nonlinearity="relu")
    return nn.Sequential(OrderedDict(conv=conv, bn=video_norm(norm, outputs), activation=nn.ReLU()))


@ROI_ACTION_PREDICTOR_REGISTRY.register()
class RelationMapActionHead(nn.Module):
    """Relate the actor's max-pooled feature to every position of the frame, then pool and classify the relation map.

    A 1x1 convolution with batch norm relates actor and position, 3x3 ones combine neighbours. The actor's own map is
    not part of what is classified; ``ACRNActionHead`` keeps it, as the paper of ACRN does.
    """

    @configurable
    def __init__(self, channels: int, *, dim: int, num_convs: int, norm: str, linear: nn.Module) -> None:
        """``linear`` classifies maps of ``dim`` channels."""
        super().__init__()
        layers = {"conv1": _layer(2 * channels, dim, 1, norm)}
        layers |= {f"conv{i + 2}": _layer(dim, dim, 3, norm) for i in range(num_convs)}
        self.relation = nn.ModuleDict(layers)
        self.linear = linear

    @classmethod
    def from_config(cls, cfg: CfgNode, channels: int) -> dict:
        head = cfg.MODEL.ROI_ACTION_HEAD
        dim = head.ACRN_DIM or channels
        linear = LinearActionHead(**LinearActionHead.from_config(cfg, dim) | {"with_context": False})
        return {
            "channels": channels,
            "dim": dim,
            "num_convs": head.ACRN_CONVS,
            "norm": cfg.MODEL.VIDEO_RESNET.NORM,
            "linear": linear,
        }

    def forward(self, actors: Tensor, frames: Tensor, clip_index: Tensor) -> Tensor:
        """Compute action logits (R, A) of actor maps (R, C, S, S) in frames (N, C, H, W); ``clip_index`` (R,)."""
        first, *rest = self.relation.values()
        of_actor, of_scene = first.conv.weight.chunk(2, dim=1)
        # The scene's half of the first convolution runs once a clip, not once an actor; the sum is the same.
        scene = F.conv3d(frames.unsqueeze(2), of_scene)[clip_index]
        actor = F.conv3d(actors.amax(dim=(2, 3))[:, :, None, None, None], of_actor)
        related = first.activation(first.bn(scene + actor))
        for layer in rest:
            related = layer(related)
        return self.linear(related.squeeze(2), frames, clip_index)
