"""The videos of a dataset: paths, start timestamps and frame rates."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from mestad_d2.data.per_video import Setting, value_of
from mestad_d2.errors import UserError
from mestad_d2.video.folder import FOLDER_FPS
from mestad_d2.video.frame_list import ListedVideo
from mestad_d2.video.source import VideoSource, is_pictures, open_source
from mestad_d2.video.video_locations import VideoRoot, find_video, locate_videos, named_start

# Cut AVA files hold seconds 900 to 1801 of a film; whole films are longer.
CUT_SECONDS, CUT_START = 905.0, 900.0


def ava_start(duration: float | None) -> float:
    """Return the timestamp of a file's first frame by AVA's rule: 900 for AVA's cut files, 0 for whole films."""
    return CUT_START if (duration or 0.0) <= CUT_SECONDS else 0.0


@dataclass(frozen=True)
class DatasetVideos:
    """Describe the videos of a dataset, each with its own settings.

    Attributes:
        root: folder of video files or frame folders, named by video id, or a frame list.
        start: timestamp of every file's first frame, a csv of them, or None: AVA's rule.
        fps: frames per second of folders of frames, or a csv of them; video files know their own.
    """

    root: VideoRoot
    start: Setting = 0.0
    fps: Setting = FOLDER_FPS

    def find(self, video_id: str) -> VideoSource | None:
        """Return the video, or None if it is missing.

        Raises:
            UserError: it can't be decoded, or a setting is wrong for it.
        """
        place = find_video(self.root, video_id)
        return None if place is None else self.describe(place, video_id)

    def sources(self, video_ids: Sequence[str]) -> dict[str, VideoSource]:
        """Return all of these videos.

        Raises:
            UserError: some are missing, one can't be decoded, or a setting is wrong for one.
        """
        places = locate_videos(video_ids, self.root)
        return {video_id: self.describe(place, video_id) for video_id, place in places.items()}

    def describe(self, place: str | ListedVideo, video_id: str) -> VideoSource:
        """Describe the video at a place, with its frame rate and its first frame's timestamp.

        Raises:
            UserError: it can't be decoded, a rate is 0 or less, or a csv of settings lacks the video.
        """
        source = open_source(place, folder_fps=self.rate_of(place, video_id))
        return source.starting_at(self.start_of(source, video_id))

    def rate_of(self, place: str | ListedVideo, video_id: str) -> float:
        """Return the frames per second of pictures; for a video file, the default.

        Raises:
            UserError: the rate is 0 or less, or a csv of rates lacks the video.
        """
        rate = value_of(self.fps, video_id) if is_pictures(place) else None
        if rate is not None and rate <= 0:
            raise UserError(f"{place}: {rate:g} frames per second; write a number above 0 as FPS")
        return FOLDER_FPS if rate is None else float(rate)

    def start_of(self, source: VideoSource, video_id: str) -> float:
        """Return the timestamp of a video's first frame, from its name where it tells it, else from the setting.

        Raises:
            UserError: a csv of starts is malformed or lacks the video.
        """
        named = named_start(source.place, video_id)
        if named is not None:
            return named
        start = value_of(self.start, video_id)
        return ava_start(source.duration) if start is None else start
