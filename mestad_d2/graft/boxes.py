"""Person boxes of unlabelled videos, from a detector or a file; videos that are done are not processed again."""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from urllib.parse import quote

from detectron2.config import CfgNode

from mestad_d2.data.person_boxes import PersonBoxes, read_person_boxes, write_person_boxes
from mestad_d2.errors import UserError
from mestad_d2.inference.clip_stream import key_times
from mestad_d2.inference.inputs import find_inputs
from mestad_d2.inference.person_detector.sources import PersonSource, build_person_source
from mestad_d2.people import People
from mestad_d2.video.clips import TIE
from mestad_d2.video.source import VideoSource, open_source
from mestad_d2.video.stream import iterate_frames

# Key frames of which the detector sees the pictures at once.
BATCH = 4
Progress = Callable[[str, Iterable, int | None], Iterable]


def find_videos(folder: str | Path) -> dict[str, str]:
    """Return the paths of a folder's videos by their ids, the names without suffix.

    Raises:
        UserError: it is no folder, or holds no video.
    """
    if not Path(folder).is_dir():
        raise UserError(f"--videos {folder}: is no folder; give the folder of the unlabelled videos")
    paths = [path for path in find_inputs([str(folder)]) if path != str(folder)]
    if not paths:
        raise UserError(f"--videos {folder}: holds no video; put films of your own there")
    return {Path(path).stem: path for path in paths}


def collect_boxes(
    cfg: CfgNode, videos: dict[str, str], rate: float, output: Path, progress: Progress
) -> PersonBoxes:
    """Find the people on the key frames of all videos.

    Args:
        cfg: its ``MODEL.PERSON_DETECTOR`` names a detector, or with ``NAME`` "csv" a file of boxes, whose key frames
            are taken.
        videos: path by video id.
        rate: key frames a second, for a detector.
        output: folder below which the boxes of each finished video are kept.
        progress: wraps the key frames of a video, given its id and their number.

    Returns:
        (video id, timestamp) -> people, for key frames without people too.

    Raises:
        UserError: the detector can't be had, a video can't be decoded, or nobody was found.
    """
    node = cfg.MODEL.PERSON_DETECTOR
    if node.NAME == "csv":
        found = read_person_boxes(node.MODEL, node.SCORE_THRESH)
        found = {key: people for key, people in found.items() if key[0] in videos}
        if not found:
            raise UserError(
                f"{node.MODEL}: no key frame of any of the {len(videos)} videos; compare their names"
            )
    else:
        persons, found = None, {}
        for video_id, path in videos.items():
            part = _part(cfg, output, video_id, path, rate)
            if not part.is_file():
                persons = persons or build_person_source(cfg)
                source = open_source(path, folder_fps=cfg.INPUT.CLIP.FPS)
                seconds = source.window_seconds()
                keys = _people_of(persons, source, video_id, rate)
                bar = progress(video_id, keys, int(seconds * rate) + 1 if seconds else None)
                part.parent.mkdir(parents=True, exist_ok=True)
                write_person_boxes(part, dict(bar))
            found |= read_person_boxes(part)
    if not any(map(len, found.values())):
        raise UserError(
            f"nobody was found on {len(found)} key frames of {len(videos)} videos; lower --person-score "
            f"({node.SCORE_THRESH:g}), or use another detector"
        )
    return found


def _part(cfg: CfgNode, output: Path, video_id: str, path: str, rate: float) -> Path:
    """The file of one video's boxes: another detector, threshold, rate or video has another name."""
    stat = Path(path).stat()
    facts = (cfg.MODEL.PERSON_DETECTOR.dump(), rate, stat.st_size, stat.st_mtime_ns)
    return output / f"{quote(video_id, safe='')}-{hashlib.sha256(repr(facts).encode()).hexdigest()[:8]}.csv"


def _people_of(
    persons: PersonSource, source: VideoSource, video_id: str, rate: float
) -> Iterator[tuple[tuple[str, float], People]]:
    """Yield ((video id, time), people) of a video's key frames, in order of time."""
    keys, coming = itertools.tee(key_times(rate))
    key, waiting, last, size = next(coming), [], 0.0, (1, 1)
    for frame in persons.follow(iterate_frames(source), keys, video_id):
        last, size = frame.time, frame.size
        while key <= last:
            waiting.append(key)
            key = next(coming)
        if len(waiting) >= BATCH:
            yield from _named(persons, video_id, waiting, size)
            waiting = []
    # The last key frame may lie after the last frame by float rounding only.
    yield from _named(persons, video_id, waiting + ([key] if key <= last + TIE else []), size)


def _named(
    persons: PersonSource, video_id: str, times: Sequence[float], size: tuple[int, int]
) -> Iterator[tuple[tuple[str, float], People]]:
    found = persons.people(times, *size) if times else []
    yield from (((video_id, round(people.timestamp, 3)), people) for people in found)
