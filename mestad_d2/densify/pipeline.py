"""The densify pipeline: detect on the videos (resumable), label every stretch, give every row its confidence."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

import numpy as np
from detectron2.config import CfgNode

from mestad_d2.data.per_video import Setting
from mestad_d2.data.prepare.frame_times import frame_times
from mestad_d2.data.video_sources import DatasetVideos
from mestad_d2.densify.confidence import confidence, features
from mestad_d2.densify.detections.frames import wanted_indices
from mestad_d2.densify.detections.teacher import detect, load_people, save_people
from mestad_d2.densify.detections.video import DetectedVideo, cut_at_key_frames
from mestad_d2.densify.key_frames import KeyFrame, stretches
from mestad_d2.densify.measure.calibrate import calibrate
from mestad_d2.densify.stretch import Stretch, label_stretch, number_people
from mestad_d2.formats.ava_csv import AnnotationRow
from mestad_d2.inference.predictor import VideoPredictor
from mestad_d2.semisup.assigner import TemporalLabelAssigner
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
        times = frame_times(source)
        wanted = wanted_indices(
            times, frames, stretches(frames, settings.max_gap), source.start, settings.rate
        )
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
        yield cut_at_key_frames(video_id, source, times, frames, found, settings.max_gap)


def _person_files(cfg: CfgNode) -> tuple[str, ...]:
    """The files of the person detector, where there is one: its weights or boxes."""
    node = cfg.MODEL.PERSON_DETECTOR
    return (node.MODEL, node.WEIGHTS) if node.NAME else ()


def densify(
    videos: Sequence[DetectedVideo],
    assigner: TemporalLabelAssigner,
    exclusive: frozenset[frozenset[int]],
) -> Dense:
    """Label every detected frame between two key frames.

    Args:
        videos: with the teacher's detections; together they determine the weights of the confidence.
        exclusive: pairs of mutually exclusive actions, as ``exclusive_pairs`` finds them.
    """
    noise, weights, fitted_on = calibrate(videos, assigner, exclusive)
    dense = Dense([], [], weights, fitted_on)
    for video in videos:
        people = [label_stretch(stretch, assigner, exclusive, noise) for stretch in video.stretches]
        for detected, actors in zip(video.stretches, number_people(people), strict=True):
            stretch, times = Stretch(detected, actors), detected.times
            given = stretch.given()
            distances = np.minimum(times - detected.left.time, detected.right.time - times)
            table = [features(actors[n], frame, action, distances[frame]) for frame, n, action in given]
            for (frame, n, action), found, sure in zip(given, table, confidence(table, weights), strict=True):
                labels, time = actors[n], f"{times[frame]:.6f}"
                box = tuple(round(float(value), 4) for value in labels.boxes[frame])
                row = AnnotationRow(
                    video.video_id, time, box, action, labels.person_id, round(float(sure), 4)
                )
                dense.rows.append(DenseRow(row, len(dense.stretches), n, frame, found))
            dense.stretches.append(stretch)
    return dense
