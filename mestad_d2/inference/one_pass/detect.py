"""Detect the people of a video segment's key frames: one run of the backbone, then the heads."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch
from detectron2.structures import ImageList, Instances
from torch import Tensor, nn

from mestad_d2.errors import UserError
from mestad_d2.inference.one_pass.calibration import PassCalibration
from mestad_d2.inference.one_pass.grid import KeyframeGrid
from mestad_d2.inference.one_pass.segments import Segment
from mestad_d2.inference.speed.modes import innermost, uncompiled, with_backbone
from mestad_d2.modeling.backbone.segment import SegmentBackbone, takes_segments

# Key frames that the heads take at once.
BATCH = 8


class SegmentDetector:
    """Runs a detector over segments.

    Args:
        model: a detector whose backbone ``takes_segments``, prepared for inference or not; it is not changed.
        grid: of the key frames.

    Raises:
        UserError: the key frame of a clip is no step of the slow pathway.
    """

    def __init__(self, model: nn.Module, grid: KeyframeGrid) -> None:
        if grid.clip_frames // 2 % grid.stride or (grid.stride > 1 and grid.clip_frames % grid.stride):
            raise UserError(
                f"INPUT.CLIP.NUM_FRAMES {grid.clip_frames} does not put the key frame on the slow pathway; "
                f"use a multiple of {2 * grid.stride} (2 * MODEL.SLOWFAST.ALPHA)"
            )
        self.grid = grid
        self.strides = innermost(model.backbone).time_strides
        # Few clips are compared: they are not worth another compilation.
        self.clip_backbone = uncompiled(model.backbone)
        self.starts = tuple(i * (grid.stride // grid.phases) for i in range(grid.phases))
        self.model = with_backbone(
            model, lambda backbone: SegmentBackbone(backbone, grid.clip_frames, self.starts)
        )
        used = getattr(model.roi_heads, "in_feature", None) or getattr(
            getattr(model.roi_heads, "inner", None), "in_feature", None
        )
        # Only the heads' own stage is needed over time; of the others the pyramid takes the key frame.
        self.over_time = used

    @torch.no_grad()
    def __call__(
        self,
        segment: Segment,
        clip: Tensor,
        people: list[Instances] | None = None,
        calibration: PassCalibration | None = None,
    ) -> Iterator[tuple[int, Instances]]:
        """Return the ticks of the segment's key frames, in order, with people in frame pixels.

        Args:
            segment: as cut from the film.
            clip: its frames (3, T, h, w), uint8.
            people: of each key frame, as the model's input ``proposals``; None: the model finds them itself.
            calibration: of the film; it compares clips of this segment as long as it misses some.
        """
        calibration = calibration or PassCalibration(0)
        given = dict(zip(segment.ticks, people, strict=True)) if people is not None else {}
        found: dict[int, Instances] = {}
        for shift in range(self.grid.shifts):
            ticks = [tick for tick in segment.ticks if self.grid.place(tick)[2] == shift]
            if ticks:
                part = clip[:, shift :: self.grid.shifts]
                found |= self._one_shift(segment, part, ticks, given, calibration)
        for tick in segment.ticks:
            yield tick, found[tick]

    def _one_shift(
        self,
        segment: Segment,
        clip: Tensor,
        ticks: list[int],
        given: dict[int, Instances],
        calibration: PassCalibration,
    ) -> dict[int, Instances]:
        images = self.model.preprocess([clip])
        by_start = dict(zip(self.starts, self.model.backbone(images.tensor), strict=True))
        if calibration.missing:
            self._compare(images.tensor, by_start, calibration)
        first = self.grid.place(segment.first)[0]
        keys = []
        for tick in ticks:
            step, start, _ = self.grid.place(tick)
            keys.append((start, self.grid.clip_frames // 2 + self.grid.stride * (step - first)))
        found = []
        for begin in range(0, len(keys), BATCH):
            some = keys[begin : begin + BATCH]
            frames = torch.cat([images.tensor[:, :, start + at, None] for start, at in some])
            batch = ImageList(frames, images.image_sizes * len(some))
            size = {"height": segment.height, "width": segment.width}
            inputs = [
                size | ({"proposals": given[tick]} if given else {}) for tick in ticks[begin : begin + BATCH]
            ]
            outputs = self.model.detect(batch, calibration.apply(self._features(by_start, some)), inputs)
            found += [output["instances"] for output in outputs]
        return dict(zip(ticks, found, strict=True))

    def _compare(
        self, frames: Tensor, by_start: dict[int, dict[str, list[Tensor]]], calibration: PassCalibration
    ) -> None:
        """Compare clips of a segment's frames (1, 3, T, h, w), evenly spread over it, with its features."""
        grid, half = self.grid, self.grid.clip_frames // 2
        steps = (frames.shape[2] - grid.frames(1)) // grid.stride + 1
        for step in np.unique(np.linspace(0, steps - 1, min(calibration.missing, steps)).round().astype(int)):
            at = half + grid.stride * int(step)
            alone = self.clip_backbone(frames[:, :, at - half : at - half + grid.clip_frames])
            calibration.add(self._features(by_start, [(0, at)]), self._features({0: alone}, [(0, half)]))

    def _features(
        self, by_start: dict[int, dict[str, list[Tensor]]], keys: list[tuple[int, int]]
    ) -> dict[str, list[Tensor]]:
        """Features as of a batch of clips, with the key frame in their middle."""
        result = {}
        for name in next(iter(by_start.values())):
            length = self.grid.clip_frames if self.over_time in (name, None) else 1
            result[name] = [
                torch.cat(
                    [
                        _around(by_start[start][name][i], at // stride, length // stride or 1)
                        for start, at in keys
                    ]
                )
                for i, stride in enumerate(self.strides)
            ]
        return result


def _around(x: Tensor, step: int, length: int) -> Tensor:
    """``length`` steps of (N, C, T, H, W), ``step`` at index length // 2, as in a clip."""
    begin = step - length // 2
    return x[:, :, begin : begin + length]


def head_can_pass(model: nn.Module) -> bool:
    """Return whether the model's action head needs no more of a clip than pooled maps."""
    return getattr(getattr(model, "roi_heads", None), "pooled_maps_only", True)


def can_pass(model: nn.Module) -> bool:
    """Return whether the model's backbone computes a segment at once, and its action head needs no more than that."""
    return head_can_pass(model) and takes_segments(innermost(getattr(model, "backbone", model)))


def slow_stride(model: nn.Module) -> int:
    """Return the frames per step of the slowest pathway of a model that ``can_pass``."""
    return max(innermost(model.backbone).time_strides)
