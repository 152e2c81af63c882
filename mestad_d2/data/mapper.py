"""Map a dataset dict to the model's input: clip tensor and instances in the clip's pixels."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from detectron2.config import CfgNode, configurable
from detectron2.structures import Boxes, Instances

from mestad_d2.errors import UserError
from mestad_d2.people import People
from mestad_d2.video.clips import clip_tensor, time_shifts
from mestad_d2.video.folder import FOLDER_FPS
from mestad_d2.video.frames import ClipReader
from mestad_d2.video.source import VideoSource, open_source
from mestad_d2.video.transforms import ClipGeometry, GeometrySampler, color_jitter


def source_of(dataset_dict: dict) -> VideoSource:
    """Return the video of a dataset dict, from ``file_name``, ``start`` and ``fps`` where it has no ``VideoSource``."""
    if "source" in dataset_dict:
        return dataset_dict["source"]
    source = open_source(dataset_dict["file_name"], folder_fps=dataset_dict.get("fps", FOLDER_FPS))
    return source.starting_at(dataset_dict["start"])


class ClipMapper:
    """Reads a clip, transforms it and its boxes, and packs both for the model.

    Called with a dataset dict and a random generator, so that a sample depends on nothing else.
    """

    @configurable
    def __init__(
        self,
        reader: ClipReader,
        geometry: GeometrySampler,
        num_classes: int,
        *,
        jitter: Sequence[float] = (0, 0, 0, 0),
        min_visible: float = 0.0,
        flip_pairs: Sequence[tuple[int, int]] = (),
        time_jitter: bool = False,
    ) -> None:
        self.time_jitter = time_jitter
        self.reader, self.geometry, self.num_classes = reader, geometry, num_classes
        self.jitter, self.min_visible = jitter, min_visible
        self.flip_ids = {a: b for pair in flip_pairs for a, b in (pair, pair[::-1])}

    @classmethod
    def from_config(cls, cfg: CfgNode, is_train: bool, flip_pairs: Sequence[tuple[int, int]] = ()) -> dict:
        clip, inputs = cfg.INPUT.CLIP, cfg.INPUT
        if is_train and inputs.CROP.ENABLED and inputs.CROP.TYPE != "absolute":
            raise UserError(f"INPUT.CROP.TYPE: {inputs.CROP.TYPE!r} is not used for clips; use absolute")
        sides = inputs.MIN_SIZE_TRAIN if is_train else (inputs.MIN_SIZE_TEST,)
        return {
            "reader": ClipReader(
                clip.NUM_FRAMES,
                clip.SAMPLING_RATE,
                clip.FPS,
                clip.STILL,
                clip.CACHE_MB if is_train else 0,
                clip.DECODED_DIR,
                (clip.GRID_START, clip.GRID_RATE),
            ),
            "geometry": GeometrySampler(
                short_sides=tuple(sides) if isinstance(sides, (tuple, list)) else (sides,),
                sampling=inputs.MIN_SIZE_TRAIN_SAMPLING if is_train else "choice",
                max_size=inputs.MAX_SIZE_TRAIN if is_train else inputs.MAX_SIZE_TEST,
                scale_range=tuple(clip.SCALE_RANGE) if is_train else (1.0, 1.0),
                crop=tuple(inputs.CROP.SIZE) if is_train and inputs.CROP.ENABLED else None,
                flip=0.5 if is_train and inputs.RANDOM_FLIP == "horizontal" else 0.0,
                resize=clip.RESIZE,
            ),
            "num_classes": cfg.MODEL.ROI_ACTION_HEAD.NUM_CLASSES,
            "jitter": clip.COLOR_JITTER if is_train else (0, 0, 0, 0),
            "min_visible": clip.MIN_VISIBLE if is_train else 0.0,
            "flip_pairs": flip_pairs,
            "time_jitter": is_train and clip.TIME_JITTER,
        }

    def __call__(self, dataset_dict: dict, rng: np.random.Generator, frame_stride: int = 1) -> dict:
        """Return the model input of a labelled dict: ``clip``, ``instances`` and the sample's name.

        Where the dict has ``person_boxes``, ``proposals`` with ``proposal_boxes, objectness_logits`` too. Of
        the clip's frames every ``frame_stride``-th is kept.

        Raises:
            UserError: the video can't be read, or an action id has no column.
        """
        frames, geometry = self._read(dataset_dict, dataset_dict["timestamp"], rng)
        frames = color_jitter(geometry.clip(frames[::frame_stride]), self.jitter, rng)
        result = {
            **self._fields(dataset_dict, dataset_dict["timestamp"]),
            "clip": clip_tensor(frames),
            "instances": self.instances(dataset_dict["annotations"], geometry, dataset_dict),
        }
        if "person_boxes" in dataset_dict:
            result["proposals"] = self._proposals(dataset_dict["person_boxes"], geometry)
        return result

    @staticmethod
    def _proposals(people: People, geometry: ClipGeometry) -> Instances:
        boxes = geometry.boxes(people.boxes)
        keep = (boxes[:, 2:] > boxes[:, :2]).all(axis=1)
        proposals = Instances(geometry.size)
        proposals.proposal_boxes = Boxes(torch.as_tensor(boxes[keep], dtype=torch.float32))
        proposals.objectness_logits = torch.as_tensor(people.scores[keep], dtype=torch.float32)
        return proposals

    def _read(
        self, dataset_dict: dict, timestamp: float, rng: np.random.Generator
    ) -> tuple[np.ndarray, ClipGeometry]:
        geometry = self.geometry.draw((dataset_dict["height"], dataset_dict["width"]), rng)
        shifts = None
        if self.time_jitter:
            # Drawn after the geometry, which stays as it is without the jitter.
            shifts = time_shifts(self.reader.num_frames, self.reader.sampling_rate, self.reader.fps, rng)
        side = self.geometry.reading_side()
        return self.reader(source_of(dataset_dict), timestamp, side, shifts), geometry

    @staticmethod
    def _fields(dataset_dict: dict, timestamp: float) -> dict:
        names = ("file_name", "source", "video_id", "start", "fps", "height", "width", "image_id")
        fields = {name: dataset_dict[name] for name in names if name in dataset_dict}
        return {**fields, "timestamp": timestamp}

    def instances(self, annotations: Sequence[dict], geometry: ClipGeometry, dataset_dict: dict) -> Instances:
        """Return persons in the clip's pixels: ``gt_boxes, gt_classes, gt_actions (N, A), gt_person_ids``.

        Where the dict is ``persons_only``, ``gt_action_mask`` (N,) says that their actions are unknown.

        Raises:
            UserError: an action id above the number of classes.
        """
        source = np.array([a["bbox"] for a in annotations], dtype=np.float64).reshape(-1, 4)
        boxes = geometry.boxes(source)
        sides = boxes[:, 2:] - boxes[:, :2]
        visible = sides.prod(axis=1) / np.maximum(geometry.full_areas(source), 1e-9)
        keep = (sides > 0).all(axis=1) & (visible >= self.min_visible)
        kept = [a for a, k in zip(annotations, keep, strict=True) if k]
        actions = torch.zeros(len(kept), self.num_classes)
        for row, annotation in enumerate(kept):
            for action in annotation["action_ids"]:
                if action > self.num_classes:
                    raise UserError(
                        f"{dataset_dict['video_id']}: action id {action} has no column; "
                        f"set MODEL.ROI_ACTION_HEAD.NUM_CLASSES to at least {action}"
                    )
                if geometry.flip:
                    action = self.flip_ids.get(action, action)
                actions[row, action - 1] = 1.0
        instances = Instances(geometry.size)
        instances.gt_boxes = Boxes(torch.as_tensor(boxes[keep], dtype=torch.float32).reshape(-1, 4))
        instances.gt_classes = torch.zeros(len(kept), dtype=torch.long)
        instances.gt_actions = actions
        if dataset_dict.get("persons_only"):
            instances.gt_action_mask = torch.zeros(len(kept), dtype=torch.bool)
        # Indices of these annotations, since a crop removes some.
        instances.gt_indices = torch.from_numpy(keep.nonzero()[0])
        instances.gt_person_ids = torch.tensor([a["person_id"] for a in kept], dtype=torch.long)
        return instances


class UnlabeledClipMapper(ClipMapper):
    """Draws a centre between key frames; two views share the geometry, only the student's is jittered."""

    @configurable
    def __init__(self, *args: object, min_offset: float = 1 / 30, **kwargs: object) -> None:
        super().__init__(*args, **kwargs)
        self.min_offset = min_offset

    @classmethod
    def from_config(
        cls, cfg: CfgNode, is_train: bool = True, flip_pairs: Sequence[tuple[int, int]] = ()
    ) -> dict:
        arguments = ClipMapper.from_config(cfg, is_train, flip_pairs)
        # Centres differ at every draw, so a cache would never hit.
        arguments["reader"].cache_bytes = 0
        return {**arguments, "min_offset": cfg.SEMISUP.MIN_OFFSET}

    def __call__(self, dataset_dict: dict, rng: np.random.Generator) -> dict:
        """Return the model input of an unlabelled dict: two views and the instances of both key frames."""
        low, high = dataset_dict["interval"]
        offset = min(self.min_offset, (high - low) / 2)
        timestamp = float(rng.uniform(low + offset, high - offset))
        frames, geometry = self._read(dataset_dict, timestamp, rng)
        frames = geometry.clip(frames)
        return {
            **self._fields(dataset_dict, timestamp),
            "clip_weak": clip_tensor(frames),
            "clip": clip_tensor(color_jitter(frames, self.jitter, rng)),
            "left_instances": self.instances(dataset_dict["left"], geometry, dataset_dict),
            "right_instances": self.instances(dataset_dict["right"], geometry, dataset_dict),
            "left_timestamp": dataset_dict["left_timestamp"],
            "right_timestamp": dataset_dict["right_timestamp"],
            # Action ids that this clip's mirroring swaps.
            "flip_ids": self.flip_ids if geometry.flip else {},
            # For the evaluation of pseudo labels where dense labels exist.
            "geometry": geometry,
        }
