"""Helpers of the backbones that other libraries build (X3D, MViT, Video-Swin, ViViT)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TypeVar

from detectron2.config import CfgNode
from torch import Tensor, nn

from mestad_d2.errors import UserError

Spec = TypeVar("Spec")
# Frames in a tubelet of MViT, Video-Swin and ViViT, and pixels to a cell of their coarsest stage.
TUBELET, COARSEST = 2, 32


def variant(cfg: CfgNode, known: Mapping[str, Spec]) -> Spec:
    """Return the entry that ``MODEL.VIDEO_BACKBONE.VARIANT`` names.

    Raises:
        UserError: an unknown variant.
    """
    name = cfg.MODEL.VIDEO_BACKBONE.VARIANT
    if name not in known:
        raise UserError(
            f"MODEL.VIDEO_BACKBONE.VARIANT: {cfg.MODEL.BACKBONE.NAME} knows no {name!r}; "
            f"use {' or '.join(known)}"
        )
    return known[name]


def stage_blocks(cfg: CfgNode, default: Sequence[int]) -> list[int]:
    """Return the blocks of res2..res5: ``MODEL.VIDEO_BACKBONE.STAGE_BLOCKS``, or the variant's where that is empty.

    Raises:
        UserError: not four numbers from 1 on.
    """
    blocks = list(cfg.MODEL.VIDEO_BACKBONE.STAGE_BLOCKS) or list(default)
    if len(blocks) != 4 or min(blocks) < 1:
        raise UserError("MODEL.VIDEO_BACKBONE.STAGE_BLOCKS: give the blocks of four stages, res2 to res5")
    return blocks


def refuse(cfg: CfgNode, *keys: str) -> None:
    """Refuse keys of ``MODEL.VIDEO_BACKBONE`` that a backbone does not support.

    Raises:
        UserError: one of them is set.
    """
    for key in keys:
        if cfg.MODEL.VIDEO_BACKBONE[key]:
            raise UserError(
                f"MODEL.VIDEO_BACKBONE.{key}: {cfg.MODEL.BACKBONE.NAME} does not have it; leave it at its default"
            )


def check_clip(clips: Tensor, coarsest: int = COARSEST) -> None:
    """Refuse clips (N, 3, T, H, W) that a backbone of tubelets can't take as they are.

    With T a multiple of 4 the key frame T // 2 begins a tubelet, that of index T // 4, which is half of the
    T // 2 tubelets. With H and W multiples of the ``coarsest`` stride no stage pads, so that strides are exact.

    Raises:
        UserError: other sizes.
    """
    frames, height, width = clips.shape[2:]
    if frames % (2 * TUBELET):
        raise UserError(
            f"INPUT.CLIP.NUM_FRAMES {frames}: this backbone joins every {TUBELET} frames; "
            f"use a multiple of {2 * TUBELET}, so that the key frame is that of its features"
        )
    if height % coarsest or width % coarsest:
        raise UserError(
            f"clips of {height}x{width} pixels: this backbone needs multiples of {coarsest}; "
            "pad them (the whole model does)"
        )


def channel_norm(tokens: Tensor) -> Tensor:
    """Apply layer norm without parameters over C of tokens (..., C).

    Intermediate stages have no norm of their own, and their values grow from block to block. Scale and shift
    would add nothing to the 1x1 convolution of the FPN that follows.
    """
    # An int: tracers would follow the shape, and ONNX wants a constant here.
    return nn.functional.layer_norm(tokens, (int(tokens.shape[-1]),))
