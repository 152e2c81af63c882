"""From AVA's csv files to detectron2 dataset dicts, labelled and unlabelled.

Timestamps are as in AVA (seconds of the film); ``start`` is the timestamp of a file's first frame.
"""

from __future__ import annotations

import logging
from collections import defaultdict
from collections.abc import Sequence

from detectron2.structures import BoxMode

from mestad_d2.data.per_video import Setting
from mestad_d2.data.person_boxes import read_people
from mestad_d2.data.video_sources import DatasetVideos
from mestad_d2.errors import UserError
from mestad_d2.formats.ava_csv import AnnotationRow, read_exclusions, read_ground_truth
from mestad_d2.formats.people import people_of
from mestad_d2.video.folder import FOLDER_FPS
from mestad_d2.video.source import VideoSource
from mestad_d2.video.video_locations import VideoRoot

# A key frame may lie this many seconds outside its video, since headers round durations.
SLACK = 0.1

logger = logging.getLogger(__name__)


def _annotations(
    rows: Sequence[AnnotationRow], source: VideoSource, persons_only: bool = False
) -> list[dict]:
    """One annotation a person; see ``people_of``."""
    scale = (source.width, source.height, source.width, source.height)
    return [
        {
            "bbox": [value * size for value, size in zip(person.box, scale, strict=True)],
            "bbox_mode": BoxMode.XYXY_ABS,
            "category_id": 0,
            "action_ids": [] if persons_only else sorted(person.actions),
            "person_id": person.person_id,
        }
        for person in people_of(rows)
    ]


def _key_frames(
    annotations: str, exclude: str | None, persons_only: bool = False, min_score: float = 0.0
) -> tuple[dict[str, dict[float, list[AnnotationRow]]], set[tuple[str, float]]]:
    """video -> timestamp -> rows, in order of time, and the excluded (video, timestamp).

    Videos without any other key frame are left out, so that a missing file can be excluded too.
    """
    excluded = read_exclusions(exclude) if exclude else set()
    frames: dict[str, dict[float, list[AnnotationRow]]] = defaultdict(dict)
    rows = read_people(annotations, min_score) if persons_only else read_ground_truth(annotations)
    for row in rows:
        frames[row.video_id].setdefault(row.timestamp, []).append(row)
    used = {
        video: dict(sorted(times.items()))
        for video, times in sorted(frames.items())
        if any((video, round(time, 3)) not in excluded for time in times)
    }
    return used, excluded


def load_ava(
    video_root: VideoRoot,
    annotations: str,
    exclude: str | None = None,
    start: Setting = None,
    fps: Setting = FOLDER_FPS,
    persons_only: bool = False,
    min_score: float = 0.0,
) -> list[dict]:
    """Load the labelled dataset dicts, one per key frame.

    Excluded key frames are returned too, marked ``excluded``: training skips them, but some evaluation
    protocols use them.

    Args:
        video_root: folder of video files or frame folders, named by video id.
        annotations: ground-truth csv, boxes in [0, 1].
        exclude: csv ``video,second`` of key frames to mark.
        start: timestamp of every file's first frame, a csv of them, or None: AVA's rule (``ava_start``).
        fps: frames per second of folders of frames, or a csv of them; video files know their own.
        persons_only: the annotations are people without actions (``read_people``); dicts are marked
            ``persons_only``, and train the person head alone.
        min_score: of such people.

    Raises:
        UserError: a file is missing or malformed.
    """
    frames, excluded = _key_frames(annotations, exclude, persons_only, min_score)
    sources = DatasetVideos(video_root, start, fps).sources(list(frames))
    dicts, outside = [], []
    for video_id, times in frames.items():
        fields = _video_fields(sources[video_id], video_id)
        used = [time for time in times if (video_id, round(time, 3)) not in excluded]
        outside += check_times(annotations, video_id, used, sources[video_id])
        for timestamp, rows in times.items():
            dicts.append(
                {
                    **fields,
                    "timestamp": timestamp,
                    "image_id": f"{video_id},{timestamp:.6f}",
                    "excluded": (video_id, round(timestamp, 3)) in excluded,
                    "annotations": _annotations(rows, sources[video_id], persons_only),
                    **({"persons_only": True} if persons_only else {}),
                }
            )
    if outside:
        logger.warning(
            "%s: %d of %d key frames lie outside their videos (%s) and show the nearest frame; "
            "tools/check_dataset.py --fix-exclude leaves them out",
            annotations,
            len(outside),
            len(dicts),
            ", ".join(outside[:3]) + (", ..." if len(outside) > 3 else ""),
        )
    return dicts


def check_times(annotations: str, video_id: str, times: Sequence[float], source: VideoSource) -> list[str]:
    """Return the names of the key frames that lie outside their video.

    Raises:
        UserError: all of them do.
    """
    start, end = source.start, source.end
    outside = [time for time in times if not start - SLACK <= time <= end + SLACK]
    if outside and len(outside) == len(times):
        unit = ""
        if all(time.is_integer() and 0 <= time <= (source.duration or 0) * source.fps + 1 for time in times):
            unit = f"; frame numbers? Divide them by {source.fps:.6g} frames a second"
        raise UserError(
            f"{annotations}: all {len(times)} key frames of {video_id} ({outside[0]:g} the first) are outside its "
            f"{start:g} to {end:g} s{unit}; check START and the unit of the timestamps"
        )
    return [f"{video_id} at {time:g}" for time in outside]


def load_unlabeled(
    video_root: VideoRoot,
    annotations: str,
    exclude: str | None = None,
    start: Setting = None,
    max_gap: float = 1.5,
    fps: Setting = FOLDER_FPS,
) -> list[dict]:
    """Load the unlabelled dataset dicts, one per interval next to a key frame (paper, section 3.4).

    Each has ``interval`` (from, to), the timestamps between which a centre is drawn, and the annotations
    of the key frames at its ends, ``left`` and ``right``, with ``left_timestamp`` and
    ``right_timestamp``. Where the next key frame is more than ``max_gap`` seconds away (a gap, an
    excluded timestamp, the first or last key frame) that neighbour is missing: an empty list and None.
    """
    dicts = []
    frames, excluded = _key_frames(annotations, exclude)
    sources = DatasetVideos(video_root, start, fps).sources(list(frames))
    for video_id, times in frames.items():
        source = sources[video_id]
        fields = _video_fields(source, video_id)
        key_times = [time for time in times if (video_id, round(time, 3)) not in excluded]
        for left, right, low, high in _intervals(key_times, max_gap, source.start, source.end):
            dicts.append(
                {
                    **fields,
                    "interval": (low, high),
                    "image_id": f"{video_id},{low:.6f}-{high:.6f}",
                    "left_timestamp": left,
                    "right_timestamp": right,
                    "left": _annotations(times[left], source) if left is not None else [],
                    "right": _annotations(times[right], source) if right is not None else [],
                }
            )
    return dicts


def _intervals(times: list[float], max_gap: float, start: float, end: float) -> list[tuple]:
    """(left key frame or None, right key frame or None, from, to) of every stretch between key frames."""
    gaps = [b - a for a, b in zip(times, times[1:], strict=False) if b - a <= max_gap]
    # Where a neighbour is missing, its key frame would have been this far away.
    step = sorted(gaps)[len(gaps) // 2] if gaps else min(1.0, max_gap)
    intervals = []
    if not times:
        return intervals
    for left, right in zip([None, *times], [*times, None], strict=True):
        if left is not None and right is not None and right - left <= max_gap:
            intervals.append((left, right, left, right))
            continue
        if left is not None and left < end:
            intervals.append((left, None, left, min(left + step, end)))
        if right is not None and right > start:
            intervals.append((None, right, max(right - step, start), right))
    return intervals


def _video_fields(source: VideoSource, video_id: str) -> dict:
    return {
        "file_name": str(source),
        "source": source,
        "video_id": video_id,
        "start": source.start,
        "fps": source.fps,
        "height": source.height,
        "width": source.width,
    }
