"""Detect on a whole video of any length in one pass over its frames."""

from __future__ import annotations

import itertools
import logging
import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from detectron2.config import CfgNode
from detectron2.structures import Instances
from torch import nn

from mestad_d2.checkpoint import MESTADCheckpointer
from mestad_d2.errors import UserError
from mestad_d2.inference.clip_stream import (
    KeyframeClip,
    batched,
    in_background,
    key_times,
    stream_clips,
)
from mestad_d2.inference.one_pass.calibration import PassCalibration
from mestad_d2.inference.one_pass.detect import SegmentDetector, can_pass, head_can_pass, slow_stride
from mestad_d2.inference.one_pass.grid import KeyframeGrid
from mestad_d2.inference.one_pass.segments import Segment, stream_segments
from mestad_d2.inference.person_detector.sources import PersonSource, build_person_source, proposals_of
from mestad_d2.inference.speed.modes import SpeedMode, prepare_for_inference
from mestad_d2.inference.tracker import ActorTracker
from mestad_d2.inference.tubes.video_tubes import ActionTube, tubes_of_video
from mestad_d2.modeling.build import build_detector
from mestad_d2.modeling.roi_heads.feature_bank import FeatureBankROIHeads
from mestad_d2.people import People
from mestad_d2.video.clips import TIE, clip_offsets, clip_tensor, without_pauses
from mestad_d2.video.source import VideoSource, open_source
from mestad_d2.video.stream import StreamFrame, iterate_frames
from mestad_d2.video.transforms import GeometrySampler

logger = logging.getLogger(__name__)

MODES = ("clip", "pass")
# The name of 0.1.
KeyframeDetections = People
# Seconds of film between the first key frames of two segments of a pass: longer ones share fewer frames with
# their neighbours and take more memory.
SEGMENT_SECONDS = 8.0


def load_model(cfg: CfgNode) -> nn.Module:
    """Load the model of a config with ``MODEL.WEIGHTS``, for inference.

    Raises:
        UserError: the config needs boxes that a video alone does not provide.
    """
    boxes, persons = cfg.MODEL.ROI_ACTION_HEAD.TEST_BOXES, cfg.MODEL.PERSON_DETECTOR.NAME
    if boxes == "gt" or (boxes == "external" and not persons):
        raise UserError(
            f"MODEL.ROI_ACTION_HEAD.TEST_BOXES: {boxes!r} needs boxes of a file; name a person detector "
            "(--persons torchvision:fasterrcnn_resnet50_fpn_v2, or MODEL.PERSON_DETECTOR)"
        )
    model = build_detector(cfg)
    MESTADCheckpointer(model, cfg=cfg).load_trained(cfg.MODEL.WEIGHTS)
    return model.eval()


class VideoPredictor:
    """Run a detector over videos; clips are sampled as in training.

    In mode "clip" the network sees the clip of each key frame by itself. In mode "pass" the backbone runs once over
    long segments of film and the heads take each key frame's features from it: the same weights, several times less
    work, scores that differ a little (docs/performance.md). ``TEST.PASS_CALIBRATION_CLIPS`` clips of each film show
    how much larger its features are than those of clips, and factors take most of that away. Key frames are then on a grid
    of time, and detections carry the times of the grid.

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
        mode: "clip" or "pass"; backbones that can't see more than a clip (attention over a clip of fixed length)
            run in mode "clip" with one warning.
        segment_seconds: of film that the backbone of a pass takes at once, besides the half clips around it.
        persons: where the people's boxes come from; by default what ``MODEL.PERSON_DETECTOR`` names, or the model
            itself.

    Raises:
        UserError: a number that makes no sense, or an unknown mode.
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
        mode: str = "clip",
        segment_seconds: float = SEGMENT_SECONDS,
        persons: PersonSource | None = None,
    ) -> None:
        if mode not in MODES:
            raise UserError(f"mode {mode!r} is unknown; use one of {', '.join(MODES)}")
        if not segment_seconds > 0:
            raise UserError(f"segment seconds: {segment_seconds} is not above 0")
        if not keyframes_per_second > 0:
            raise UserError(f"keyframes per second: {keyframes_per_second} is not above 0")
        if model is None or speed is not None:
            model = prepare_for_inference(load_model(cfg) if model is None else model, speed)
        self.model = model
        if persons is None and cfg.MODEL.ROI_ACTION_HEAD.TEST_BOXES == "external":
            persons = build_person_source(cfg)
        self.persons = persons
        self.keyframes_per_second = keyframes_per_second
        self.batch_size = batch_size or max(cfg.TEST.BATCH_SIZE, 1)
        self.smoothing = smoothing
        clip = cfg.INPUT.CLIP
        self.folder_fps = folder_fps or clip.FPS
        self.offsets = clip_offsets(clip.NUM_FRAMES, 0 if clip.STILL else clip.SAMPLING_RATE, clip.FPS)
        self.step = clip.SAMPLING_RATE / clip.FPS
        self.calibration_clips = cfg.TEST.PASS_CALIBRATION_CLIPS
        if self.calibration_clips < 0:
            raise UserError(
                f"TEST.PASS_CALIBRATION_CLIPS: {self.calibration_clips} is below 0; give 0 (no calibration) or more"
            )
        self.mode, self.segment_steps = mode, 0
        if mode == "pass" and (reason := self._no_pass(clip.STILL)):
            logger.warning("%s: detections are made clip by clip", reason)
            self.mode = "clip"
        if self.mode == "pass":
            spacing, stride = clip.SAMPLING_RATE / clip.FPS, slow_stride(self.model)
            grid = KeyframeGrid.for_rate(spacing, clip.NUM_FRAMES, stride, keyframes_per_second)
            self.segments = SegmentDetector(self.model, grid)
            self.segment_steps = max(round(segment_seconds / (spacing * stride)), 1)
        # Seconds of film around a key frame that its clip or segment needs, and one for frames far apart.
        self.reach = float(np.abs(self.offsets).max()) + 1.0
        if self.mode == "pass":
            grid = self.segments.grid
            ahead = float(np.abs(grid.offsets(self.segment_steps)).max())
            self.reach = ahead + self.segment_steps * grid.ticks_per_step * grid.tick + 1.0
        self._geometry = GeometrySampler(
            (cfg.INPUT.MIN_SIZE_TEST,), max_size=cfg.INPUT.MAX_SIZE_TEST, resize=cfg.INPUT.CLIP.RESIZE
        )

    def clips(
        self, source: VideoSource | str | os.PathLike[str] | Iterable[StreamFrame]
    ) -> Iterator[KeyframeClip]:
        """Yield the clips of all key frames of a video, in order, without running the model."""
        source, keys = self._keys(source)
        times, seen = itertools.tee(keys)
        yield from stream_clips(self._frames(source, seen), times, self.offsets, self.resize)

    def predict(
        self,
        source: VideoSource | str | os.PathLike[str] | Iterable[StreamFrame],
        frames: Iterable[StreamFrame] | None = None,
        times: Iterable[float] | None = None,
    ) -> Iterator[People]:
        """Detect on a video's key frames 0, 1 / k, 2 / k ... seconds after its first frame.

        In pauses of a recording, where no frame is within a clip's step of a key frame, there is none.

        Args:
            source: a description or what ``open_source`` makes one of (a path), or frames in order of time.
            frames: all frames of a described ``source``, for callers that look at them as they pass.
            times: of other key frames, increasing, in s; streams leave out those that they have dropped.

        Raises:
            UserError: nothing there that can be decoded.
        """
        tracker = ActorTracker(smoothing=self.smoothing)
        source, keys = self._keys(source)
        for found in self.predict_at(source, keys if times is None else times, frames):
            ids, actions = tracker.update(found.timestamp, found.boxes, found.scores, found.actions)
            yield replace(found, track_ids=ids, actions=actions)

    def predict_tubes(self, source: str | os.PathLike[str] | Iterable[StreamFrame]) -> Iterator[ActionTube]:
        """Yield a video's action tubes, each as soon as it is complete.

        Raises:
            UserError: nothing there that can be decoded.
        """
        yield from tubes_of_video(self.predict(source), self.keyframes_per_second)

    def predict_at(
        self,
        source: VideoSource | str | os.PathLike[str] | Iterable[StreamFrame],
        times: Iterable[float],
        frames: Iterable[StreamFrame] | None = None,
    ) -> Iterator[People]:
        """Detect at ``times`` (increasing, s since the first frame), without tracking: ``track_ids`` is None.

        In mode "pass" each time is moved to the nearest one of a grid that is fine enough for
        ``keyframes_per_second``, and reported as that. ``frames`` as in ``predict``.

        Raises:
            UserError: nothing there that can be decoded.
        """
        if self.mode == "pass":
            times, seen = itertools.tee(times)
            ticks = (tick * self.segments.grid.tick for tick, _ in self.segments.grid.nearest(seen))
            watched = self._frames(source, ticks, frames)
            segments = stream_segments(watched, times, self.segments.grid, self.segment_steps, self.resize)
            with_tensors = ((segment, clip_tensor(segment.frames)) for segment in segments)
            calibration = PassCalibration(self.calibration_clips)
            for segment, tensor in in_background(with_tensors, ahead=1):
                yield from self.predict_segment(segment, tensor, calibration)
            return
        times, before = itertools.tee(times)
        with self._bank_of_film(source, before):
            for batch in self._batches(source, times, frames):
                yield from self.predict_batch(batch)

    def _batches(
        self,
        source: VideoSource | str | os.PathLike[str] | Iterable[StreamFrame],
        times: Iterable[float],
        frames: Iterable[StreamFrame] | None = None,
    ) -> Iterator[list[tuple[KeyframeClip, torch.Tensor]]]:
        times, seen = itertools.tee(times)
        clips = stream_clips(self._frames(source, seen, frames), times, self.offsets, self.resize)
        batches = batched(((clip, clip_tensor(clip.frames)) for clip in clips), self.batch_size)
        yield from in_background(batches, ahead=2)

    @contextmanager
    def _bank_of_film(
        self, source: VideoSource | str | os.PathLike[str] | Iterable[StreamFrame], times: Iterable[float]
    ) -> Iterator[None]:
        """In the block a head that looks into a bank has that of the film, filled by a pass of its own."""
        heads = getattr(self.model, "roi_heads", None)
        if not isinstance(heads, FeatureBankROIHeads):
            yield
            return
        named = isinstance(source, (VideoSource, str, os.PathLike))
        if not named or open_source(source, folder_fps=self.folder_fps).kind == "camera":
            raise UserError(
                "MODEL.ROI_HEADS.NAME FeatureBankROIHeads looks ahead in the whole film; give a file or a folder of "
                "frames, no camera or stream"
            )
        with heads.filling() as bank:
            for batch in self._batches(source, times):
                self.predict_batch(batch)
        with heads.looking_into(bank):
            yield

    def predict_segment(
        self, segment: Segment, tensor: torch.Tensor, calibration: PassCalibration | None = None
    ) -> Iterator[People]:
        """Detect on a segment's key frames with its frames (3, T, h, w) uint8, without track ids.

        ``calibration`` is that of the film; without one the features stay as the pass computes them.
        """
        tick_times = [tick * self.segments.grid.tick for tick in segment.ticks]
        people = self._proposals(tick_times, segment.height, segment.width, tensor)
        found = self.segments(segment, tensor, people, calibration)
        for time, (_, instances) in zip(tick_times, found, strict=True):
            yield People.from_instances(instances, time)

    @torch.no_grad()
    def predict_batch(self, batch: list[tuple[KeyframeClip, torch.Tensor]]) -> list[People]:
        """Detect on clips with their tensors (3, T, h, w) uint8, without track ids."""
        inputs = [
            {"clip": tensor, "height": clip.height, "width": clip.width, "timestamp": clip.timestamp}
            for clip, tensor in batch
        ]
        if self.persons is not None:
            found = self._proposals(
                [clip.timestamp for clip, _ in batch], batch[0][0].height, batch[0][0].width, batch[0][1]
            )
            inputs = [item | {"proposals": people} for item, people in zip(inputs, found, strict=True)]
        outputs = self.model(inputs)
        return [
            People.from_instances(out["instances"], clip.timestamp)
            for (clip, _), out in zip(batch, outputs, strict=True)
        ]

    def resize(self, frame: StreamFrame) -> np.ndarray:
        """Resize to the picture (h, w, 3) uint8 that the model sees, as the test-time mapper does."""
        # With one size, no crop and no flip nothing is random.
        geometry = self._geometry.draw(frame.size, np.random.default_rng(0))
        return geometry.clip(frame.small(self._geometry.reading_side())[None])[0]

    def needed(self, source: VideoSource) -> VideoSource:
        """Return the video with what the clips of its window's key frames need on both sides."""
        begin, end = source.window
        return replace(source, window=(max(begin - self.reach, 0.0), end + self.reach))

    def _keys(
        self, source: VideoSource | str | os.PathLike[str] | Iterable[StreamFrame]
    ) -> tuple[VideoSource | Iterable[StreamFrame], Iterable[float]]:
        """What to read, described once if it is a video, and the times of its key frames."""
        keys = key_times(self.keyframes_per_second)
        if not isinstance(source, (VideoSource, str, os.PathLike)):
            return source, keys
        source = open_source(source, folder_fps=self.folder_fps)
        begin, end = source.window
        keys = itertools.dropwhile(lambda key: key < begin - TIE, keys)
        keys = itertools.takewhile(lambda key: key < end - TIE, keys)
        stamps = source.frame_times()
        if stamps is None or len(stamps) < 2:
            return source, keys
        spacing, between = float(np.median(np.diff(stamps))), 1 / self.keyframes_per_second
        if spacing > between:
            logger.warning(
                "%s: frames are %.3g s apart, key frames %.3g s; only those next to a frame are detected",
                source, spacing, between,
            )  # fmt: skip
        limit = max(self.step, min(spacing, between) / 2 + 1e-3)
        return source, without_pauses(keys, stamps, limit)

    def _frames(
        self,
        source: str | os.PathLike[str] | Iterable[StreamFrame],
        keys: Iterable[float],
        frames: Iterable[StreamFrame] | None = None,
    ) -> Iterable[StreamFrame]:
        named = isinstance(source, (VideoSource, str, os.PathLike))
        if frames is None:
            named_source = open_source(source, folder_fps=self.folder_fps) if named else None
            frames = iterate_frames(self.needed(named_source)) if named else source
        if self.persons is None:
            return frames
        return self.persons.follow(frames, keys, Path(source).resolve().stem if named else None)

    def _proposals(
        self, times: list[float], height: int, width: int, clip: torch.Tensor
    ) -> list[Instances] | None:
        """The person source's people at ``times``, in pixels of ``clip`` (3, T, h, w); None without a source."""
        if self.persons is None:
            return None
        found = self.persons.people(times, height, width)
        return [proposals_of(people, clip.shape[-2:]) for people in found]

    def _no_pass(self, still: bool) -> str:
        """Why this model can't run in mode "pass"; empty where it can."""
        if still:
            return "INPUT.CLIP.STILL repeats one frame, which a pass has not"
        if not head_can_pass(self.model):
            return "this action head looks at whole clips"
        if not can_pass(self.model):
            return "this backbone sees clips of a fixed length only"
        return ""
