"""Detections of a whole video, of any length, in one pass over its frames."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace

import numpy as np
import torch
from detectron2.config import CfgNode
from detectron2.modeling import build_model
from torch import nn

from mestad_d2.checkpoint import MESTADCheckpointer
from mestad_d2.errors import UserError
from mestad_d2.inference.clip_stream import (
    KeyframeClip,
    batched,
    clip_offsets,
    in_background,
    key_times,
    stream_clips,
)
from mestad_d2.inference.speed.modes import SpeedMode, prepare_for_inference
from mestad_d2.inference.tracker import ActorTracker
from mestad_d2.video.stream import StreamFrame, iterate_frames
from mestad_d2.video.transforms import GeometrySampler


@dataclass(frozen=True)
class KeyframeDetections:
    """People of one key frame.

    Attributes:
        timestamp: seconds since the first frame.
        boxes: (N, 4) float32, x1, y1, x2, y2 in pixels of the frame as shown.
        scores: (N,) float32, person scores.
        actions: (N, A) float32, action scores; column = action id - 1.
        track_ids: (N,) int64, the same for one actor over time.
        height: of the frame as shown, in pixels.
        width: of the frame as shown, in pixels.
    """

    timestamp: float
    boxes: np.ndarray
    scores: np.ndarray
    actions: np.ndarray
    track_ids: np.ndarray
    height: int
    width: int


def load_model(cfg: CfgNode) -> nn.Module:
    """The model of a config with ``MODEL.WEIGHTS`` loaded, for inference.

    Raises:
        UserError: the config asks for boxes that a bare video has not.
    """
    if cfg.MODEL.ROI_ACTION_HEAD.TEST_BOXES != "proposals":
        raise UserError(
            f"MODEL.ROI_ACTION_HEAD.TEST_BOXES: {cfg.MODEL.ROI_ACTION_HEAD.TEST_BOXES!r} needs boxes from a "
            'file, which a video has not; set "proposals"'
        )
    model = build_model(cfg)
    MESTADCheckpointer(model, cfg=cfg).load(cfg.MODEL.WEIGHTS)
    return model.eval()


class VideoPredictor:
    """Runs a detector over videos; clips are sampled as in training.

    Each frame is decoded once and made a picture at most once, if a clip needs it; decoding goes on
    while the model computes; memory does not depend on the video's length.

    Args:
        cfg: a full config; ``INPUT.CLIP``, ``INPUT.MIN_SIZE_TEST`` and ``MAX_SIZE_TEST`` make the clips.
        model: a detector as the meta architecture, run as it is unless ``speed`` is given; by default built
            of ``cfg`` with its weights and run in the default speed mode of its device.
        speed: precision, layout and compilation of a copy of the model; see ``prepare_for_inference``.
        keyframes_per_second: how often actions are detected.
        batch_size: clips of a forward; by default ``TEST.BATCH_SIZE``.
        smoothing: see ``ActorTracker``; 0 leaves the model's scores as they are.
        folder_fps: frames per second of folders; by default ``INPUT.CLIP.FPS``.

    Raises:
        UserError: a number that makes no sense.
    """

    def __init__(
        self,
        cfg: CfgNode,
        model: nn.Module | None = None,
        *,
        speed: SpeedMode | None = None,
        keyframes_per_second: float = 1.0,
        batch_size: int | None = None,
        smoothing: float = 0.0,
        folder_fps: float | None = None,
    ) -> None:
        if not keyframes_per_second > 0:
            raise UserError(f"keyframes per second: {keyframes_per_second} is not above 0")
        if model is None or speed is not None:
            model = prepare_for_inference(load_model(cfg) if model is None else model, speed)
        self.model = model
        self.keyframes_per_second = keyframes_per_second
        self.batch_size = batch_size or max(cfg.TEST.BATCH_SIZE, 1)
        self.smoothing = smoothing
        clip = cfg.INPUT.CLIP
        self.folder_fps = folder_fps or clip.FPS
        self.offsets = clip_offsets(clip.NUM_FRAMES, 0 if clip.STILL else clip.SAMPLING_RATE, clip.FPS)
        self._geometry = GeometrySampler((cfg.INPUT.MIN_SIZE_TEST,), max_size=cfg.INPUT.MAX_SIZE_TEST)

    def clips(self, source: str | os.PathLike[str] | Iterable[StreamFrame]) -> Iterator[KeyframeClip]:
        """Clips of all key frames of a video, in order, without running the model."""
        named = isinstance(source, (str, os.PathLike))
        frames = iterate_frames(source, folder_fps=self.folder_fps) if named else source
        yield from stream_clips(frames, key_times(self.keyframes_per_second), self.offsets, self.resize)

    def predict(self, source: str | os.PathLike[str] | Iterable[StreamFrame]) -> Iterator[KeyframeDetections]:
        """Detections of a video's key frames 0, 1 / k, 2 / k ... seconds after its first frame.

        Args:
            source: video file, folder of frames, ``camera:N``, or frames in order of time.

        Raises:
            UserError: nothing there that can be decoded.
        """
        tracker = ActorTracker(smoothing=self.smoothing)
        for batch in in_background(self._batches(source), ahead=2):
            for found in self.predict_batch(batch):
                ids, actions = tracker.update(found.timestamp, found.boxes, found.scores, found.actions)
                yield replace(found, track_ids=ids, actions=actions)

    @torch.no_grad()
    def predict_batch(self, batch: list[tuple[KeyframeClip, torch.Tensor]]) -> list[KeyframeDetections]:
        """Detections of clips with their tensors (3, T, h, w) uint8; track ids are -1."""
        outputs = self.model(
            [{"clip": tensor, "height": clip.height, "width": clip.width} for clip, tensor in batch]
        )
        return [_detections(clip, out["instances"]) for (clip, _), out in zip(batch, outputs, strict=True)]

    def resize(self, frame: StreamFrame) -> np.ndarray:
        """The picture (h, w, 3) uint8 that the model sees, the same as of the test-time mapper."""
        # Nothing random is left to draw with one size, no crop and no flip.
        geometry = self._geometry.draw(frame.size, np.random.default_rng(0))
        return geometry.clip(frame.small(self._geometry.short_sides[0])[None])[0]

    def _batches(
        self, source: str | os.PathLike[str] | Iterable[StreamFrame]
    ) -> Iterator[list[tuple[KeyframeClip, torch.Tensor]]]:
        clips = ((clip, clip_tensor(clip.frames)) for clip in self.clips(source))
        yield from batched(clips, self.batch_size)


def clip_tensor(frames: list[np.ndarray]) -> torch.Tensor:
    """T frames (H, W, 3) -> (3, T, H, W), uint8."""
    return torch.from_numpy(np.stack(frames)).permute(3, 0, 1, 2).contiguous()


def _detections(clip: KeyframeClip, instances) -> KeyframeDetections:
    return KeyframeDetections(
        timestamp=clip.timestamp,
        boxes=instances.pred_boxes.tensor.float().cpu().numpy(),
        scores=instances.scores.float().cpu().numpy(),
        actions=instances.pred_actions.float().cpu().numpy(),
        track_ids=np.full(len(instances), -1, dtype=np.int64),
        height=clip.height,
        width=clip.width,
    )
