"""The densify pipeline: detect on the videos (resumable), label every stretch, give every row its confidence."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from urllib.parse import quote

import numpy as np
from detectron2.config import CfgNode

from mestad_d2.data.per_video import Setting
from mestad_d2.data.prepare.frame_times import frame_times
from mestad_d2.data.video_sources import DatasetVideos
from mestad_d2.densify.boxes import BoxNoise
from mestad_d2.densify.confidence import confidence, features
from mestad_d2.densify.detections.frames import wanted_indices
from mestad_d2.densify.detections.teacher import detect, load_people, save_people
from mestad_d2.densify.detections.video import DetectedVideo
from mestad_d2.densify.key_frames import KeyFrame, stretches
from mestad_d2.densify.measure.calibrate import box_noise, boxes_help, fit_confidence, left_out
from mestad_d2.densify.person_ids import number_people
from mestad_d2.densify.stretch import ActorLabels, Stretch, label_stretch
from mestad_d2.formats.ava_csv import AnnotationRow
from mestad_d2.inference.predictor import VideoPredictor
from mestad_d2.semisup.assigner import TemporalLabelAssigner
from mestad_d2.semisup.exclusive_actions import exclusive_pairs
from mestad_d2.video.video_locations import locate_videos


@dataclass(frozen=True)
class Settings:
    """``rate``: labels a second, None: every frame; ``max_gap``: key frames further apart, in s, are no
    neighbours; ``start``: timestamp of every file's first frame, a csv of them, None: AVA's rule."""

    rate: float | None = None
    max_gap: float = 1.5
    start: Setting = 0.0


@dataclass(frozen=True)
class DenseRow:
    """A new row and its origin: ``frame`` counts within its stretch; ``features`` of its confidence."""

    row: AnnotationRow
    stretch: int
    actor: int
    frame: int
    features: np.ndarray


@dataclass(frozen=True)
class Dense:
    """All labels between the key frames: ``stretches`` of all videos in order, ``rows`` by video and time.

    ``weights`` are those of the confidence; ``fitted_on`` counts the left-out rows they were fitted to.
    """

    stretches: list[Stretch]
    rows: list[DenseRow]
    weights: np.ndarray
    fitted_on: int


def file_print(path: str | Path) -> str:
    """Compute the checksum of a file's content; "" if the file is missing."""
    if not Path(path).is_file():
        return ""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def detect_videos(
    cfg: CfgNode,
    predictor: VideoPredictor,
    keys: dict[str, list[KeyFrame]],
    root: str,
    parts: Path,
    settings: Settings,
    progress: Callable[[str, Iterable, int], Iterable] = lambda name, items, total: items,
) -> Iterator[DetectedVideo]:
    """Run the teacher over the videos, one after the other; results of each are kept below ``parts``.

    Videos whose results are there, of the same weights, config, file and frames, are not processed again.

    Args:
        keys: key frames of each video; root: folder of the videos.
        progress: wraps the detected frames of a video, given its name and their number.

    Raises:
        UserError: a video is missing or can't be decoded.
    """
    paths = locate_videos(list(keys), root)
    videos = DatasetVideos(root, settings.start, predictor.folder_fps)
    prints = [file_print(path) for path in (cfg.MODEL.WEIGHTS, *_person_files(cfg))]
    model_print = hashlib.sha256("".join([cfg.dump(), *prints]).encode()).hexdigest()
    columns = cfg.MODEL.ROI_ACTION_HEAD.NUM_CLASSES
    for video_id, frames in keys.items():
        path = paths[video_id]
        source = videos.describe(path, video_id)
        times, start = frame_times(source), source.start
        wanted = wanted_indices(times, frames, stretches(frames, settings.max_gap), start, settings.rate)
        stat = Path(path).stat()
        facts = (model_print, str(Path(path).resolve()), stat.st_size, stat.st_mtime_ns, wanted)
        fingerprint = hashlib.sha256(repr(facts).encode()).hexdigest()
        part = parts / f"{quote(video_id, safe='')}.npz"
        found = load_people(part, fingerprint)
        if found is None:
            seen = progress(video_id, detect(predictor, source, times[wanted].tolist()), len(wanted))
            # A damaged file may have no detections at its end.
            found = dict(zip(wanted, seen, strict=False))
            save_people(part, found, columns, fingerprint)
        yield DetectedVideo(video_id, path, start, source.height, source.width, times, frames, found)


def _person_files(cfg: CfgNode) -> tuple[str, ...]:
    """The files of the person detector, where there is one: its weights or boxes."""
    node = cfg.MODEL.PERSON_DETECTOR
    return (node.MODEL, node.WEIGHTS) if node.NAME else ()


def densify(videos: Sequence[DetectedVideo], assigner: TemporalLabelAssigner, max_gap: float) -> Dense:
    """Label every detected frame between two key frames.

    Args:
        videos: with the teacher's detections; together they determine the exclusive actions and the weights
            of the confidence.
    """
    exclusive = exclusive_pairs(frame for video in videos for frame in video.keys)
    noise = box_noise(videos)
    aside = list(left_out(videos, assigner, exclusive, max_gap, noise))
    noise = replace(noise, trusted=boxes_help(aside))
    weights, fitted_on = fit_confidence(aside, noise.trusted)
    dense = Dense([], [], weights, fitted_on)
    for video in videos:
        _add_video(dense, video, assigner, exclusive, max_gap, noise)
    return dense


def _add_video(
    dense: Dense,
    video: DetectedVideo,
    assigner: TemporalLabelAssigner,
    exclusive: frozenset[frozenset[int]],
    max_gap: float,
    noise: BoxNoise,
) -> None:
    parts = []
    for left, right in stretches(video.keys, max_gap):
        frames = video.between(left, right, ends=True)
        times = video.times[frames] + video.start
        detections = [video.people[frame] for frame in frames]
        actors = label_stretch(left, right, times, detections, assigner, exclusive, noise)
        parts.append((left, right, frames, times, actors))
    people = number_people([actors for *_, actors in parts])
    for (left, right, frames, times, _), actors in zip(parts, people, strict=True):
        dense.stretches.append(Stretch(video.video_id, left, right, tuple(frames), times, actors))
        inside = set(video.between(left, right))
        rows = [
            (place, number, action)
            for place, frame in enumerate(frames) if frame in inside
            for number, labels in enumerate(actors) if labels.there[place] >= 0.5
            for action in labels.chosen(place)
        ]  # fmt: skip
        if not rows:
            continue
        distances = np.minimum(times - left.time, right.time - times)
        table = np.stack(
            [features(actors[number], place, action, distances[place]) for place, number, action in rows]
        )
        for (place, number, action), sign, sure in zip(
            rows, table, confidence(table, dense.weights), strict=True
        ):
            row = _row(video.video_id, times[place], actors[number], place, action, float(sure))
            dense.rows.append(DenseRow(row, len(dense.stretches) - 1, number, place, sign))


def _row(
    video_id: str, time: float, labels: ActorLabels, place: int, action: int, sure: float
) -> AnnotationRow:
    box = tuple(round(float(value), 4) for value in labels.boxes[place])
    return AnnotationRow(video_id, f"{time:.6f}", box, action, labels.person_id, round(sure, 4))
