"""Frame numbers of annotations -> seconds: each file's own frames, a tool's own rate, a csv of rates, or one number."""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from mestad_d2.data.per_video import Setting, as_setting, value_of
from mestad_d2.data.prepare.frame_times import frame_times
from mestad_d2.errors import UserError, counted
from mestad_d2.video.folder import FOLDER_FPS
from mestad_d2.video.video_locations import find_video

# Rates that differ by less are one rate, written with other precision: 29.97 and 30000 / 1001.
SAME_RATE = 1e-3


def add_rate_arguments(parser: argparse.ArgumentParser, default: float) -> None:
    """Add ``--videos`` and ``--fps``, for ``Clock.of_arguments``."""
    parser.add_argument(
        "--videos", help="folder of the videos: the times of each file's own frames are taken"
    )
    parser.add_argument(
        "--fps", default=f"{default:g}", help="of videos that are not there, or a csv video,fps (%(default)s)"
    )


@dataclass
class Clock:
    """Times of frames, which count from 0.

    Attributes:
        videos: folder of the videos, None where they are not at hand.
        fps: frames per second of videos that are not there, a csv of rates, or None.
        lengths: frames by video as the annotations have them, compared with the files.
        notes: what did not agree, a line each.
        missing: videos that are not below ``videos``.
        assumed: videos whose rate comes from ``fps`` alone.
    """

    videos: str | None = None
    fps: Setting = None
    lengths: Mapping[str, int] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    missing: list[str] = field(default_factory=list)
    assumed: list[str] = field(default_factory=list)
    _times: dict[str, np.ndarray | None] = field(default_factory=dict)

    @classmethod
    def of_arguments(cls, args: argparse.Namespace, lengths: Mapping[str, int] | None = None) -> Clock:
        """Make a clock from a command line with ``add_rate_arguments``."""
        return cls(args.videos, as_setting(args.fps, "--fps"), lengths or {})

    def seconds(
        self, video: str, frames: Sequence[float], own_fps: float | None = None
    ) -> list[float | None]:
        """Return the times of frames in s; None for frames after the end of the file.

        Args:
            video: its id.
            frames: numbers, from 0.
            own_fps: the rate of a tool that does not count the frames of the file.

        Raises:
            UserError: nothing tells the frame rate of the video.
        """
        times = self._of_file(video, own_fps)
        if own_fps is not None:
            found = [frame / own_fps for frame in frames]
            # Half a frame of grace: tools count the last frame's whole length.
            end = float(times[-1]) + 0.5 * step_of(times) if times is not None else float("inf")
            return [time if time <= end else None for time in found]
        if times is not None:
            return [float(times[int(f)]) if 0 <= int(f) < len(times) else None for f in frames]
        rate = value_of(self.fps, video)
        if rate is None:
            raise UserError(
                f"{video}: its frame rate is not known; give --videos FOLDER or --fps NUMBER (or a csv video,fps)"
            )
        if not 0 < rate < 1e6:
            raise UserError(f"{video}: {rate:g} frames a second; give a number above 0")
        if video not in self.assumed:
            self.assumed.append(video)
        return [frame / rate for frame in frames]

    def _of_file(self, video: str, own_fps: float | None) -> np.ndarray | None:
        if self.videos is None:
            return None
        if video not in self._times:
            path = find_video(self.videos, video)
            if path is None:
                self.missing.append(video)
            folder_fps = value_of(self.fps, video) if path is not None and self.fps is not None else None
            times = None if path is None else frame_times(path, folder_fps or FOLDER_FPS)
            self._times[video] = times if times is not None and len(times) else None
            if self._times[video] is not None:
                self._compare(video, times, own_fps)
        return self._times[video]

    def _compare(self, video: str, times: np.ndarray, own_fps: float | None) -> None:
        rate, length = 1.0 / step_of(times), self.lengths.get(video)
        if own_fps is None:
            if length is not None and abs(length - len(times)) > 1:
                self.notes.append(
                    f"{video}: {length} frames in the annotations, {len(times)} in the file; is it the same file?"
                )
        elif length is not None:
            labelled, real = length / own_fps, len(times) / rate
            if abs(labelled - real) > max(0.02 * real, 2 / rate):
                self.notes.append(
                    f"{video}: labelled as {labelled:.2f} s ({length} frames at {own_fps:g} a second), the file has "
                    f"{real:.2f} s; is it the same file?"
                )
        elif abs(own_fps / rate - 1) > SAME_RATE:
            self.notes.append(
                f"{video}: the annotations say {own_fps:g} frames a second, which is used; the file has {rate:g}"
            )

    def lines(self) -> list[str]:
        """Return notes for the user, one line each."""
        lines = self.notes[:5] + (
            [f"... and {len(self.notes) - 5} more videos"] if len(self.notes) > 5 else []
        )
        if self.missing:
            some = ", ".join(self.missing[:3]) + (" ..." if len(self.missing) > 3 else "")
            lines.append(
                f"{len(self.missing)} of {len(self._times)} videos are not below {self.videos} ({some})"
            )
        if self.assumed:
            lines.append(
                f"{self.fps} frames a second are assumed for {counted(len(self.assumed), 'video')}; --videos takes each "
                "file's own"
            )
        return lines


def step_of(times: np.ndarray) -> float:
    """Return the average seconds between two frames."""
    return (
        float(times[-1] - times[0]) / (len(times) - 1)
        if len(times) > 1 and times[-1] > times[0]
        else 1 / FOLDER_FPS
    )
