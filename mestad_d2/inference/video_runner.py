"""Detect on files, streams and cameras one after the other, and write the results of each."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

from tqdm import tqdm

from mestad_d2.errors import UserError
from mestad_d2.inference.output_files import LineFile
from mestad_d2.inference.predictor import VideoPredictor
from mestad_d2.inference.results.result_files import ResultFiles, beside
from mestad_d2.people import People
from mestad_d2.video.decode.missing_end import LastSeen, refuse_missing_end
from mestad_d2.video.live.frames import LiveFrames, ended_by_ctrl_c
from mestad_d2.video.output.writer import recorded, recording_to
from mestad_d2.video.source import VideoSource, open_source
from mestad_d2.video.stream import StreamFrame, iterate_frames


class VideoRunner:
    """Run a predictor over videos and write their results.

    Args:
        predictor: that detects.
        results: what is written of every video.
        window: first second of each film that is looked at, and the second before which to end.
        stream: picture stream of files that have several, from 0; None: the best one.
        seconds: how long a camera or stream is watched.

    Attributes:
        counts: people of every key frame so far.
    """

    def __init__(
        self,
        predictor: VideoPredictor,
        results: ResultFiles,
        *,
        window: tuple[float, float] = (0.0, float("inf")),
        stream: int | None = None,
        seconds: float = float("inf"),
    ) -> None:
        self.predictor, self.results = predictor, results
        self.window, self.picture_stream, self.seconds = window, stream, seconds
        self.counts: list[int] = []

    def file(self, video: str, stem: Path) -> None:
        """Process a video file or a folder of frames; its results are at ``stem`` with their suffixes.

        Raises:
            UserError: nothing there that can be decoded; or its end is missing, which is told when the
                results of the rest are written.
        """
        source = open_source(video, folder_fps=self.predictor.folder_fps, stream=self.picture_stream)
        source = source.between(*self.window)
        found: list[People] = []
        frames = LastSeen(iterate_frames(self.predictor.needed(source)))
        try:
            self._detect(source, frames, stem, found, source.fps, source.window_seconds())
        except UserError:
            beside(stem, ".jsonl").unlink(missing_ok=True)
            raise
        self._write(source, stem, found)
        refuse_missing_end(source, video, frames.time, kept="the results are of what is there")

    def stream(self, address: str, stem: Path) -> None:
        """Process a stream of the network; what was taken of it is recorded beside the results.

        Raises:
            UserError: no video comes from the address.
        """
        live = LiveFrames(address, self.seconds)
        frames, batch_size = iter(live), self.predictor.batch_size
        first = next(frames)
        recording, found = beside(stem, "_recording.mp4"), []
        if live.live:
            # A key frame is not kept waiting for the next ones.
            self.predictor.batch_size = 1
        try:
            with recording_to(recording) as writer, ended_by_ctrl_c(live):
                passing = recorded(chained(first, frames), writer, self.seconds)
                print(f"{live.name}: watching; Ctrl-C ends it", file=sys.stderr)
                times = live.key_times(self.predictor.keyframes_per_second)
                self._detect(passing, None, stem, found, 30.0, None, times)
        finally:
            self.predictor.batch_size = batch_size
        if live.dropped:
            print(
                f"note: {live.name}: {live.dropped} frames were dropped to keep up with the stream",
                file=sys.stderr,
            )
        self._write(open_source(recording), stem, found)

    def camera(self, number: int, stem: Path) -> None:
        """Process a camera; its frames are recorded beside the results.

        Raises:
            UserError: no picture comes from it.
        """
        # Opened here, so that a missing camera leaves no file.
        frames = iterate_frames(f"camera:{number}")
        first = next(frames)
        recording, found = beside(stem, "_recording.mp4"), []
        with recording_to(recording) as writer:
            passing = recorded(chained(first, frames), writer, self.seconds)
            print("watching; Ctrl-C ends it", file=sys.stderr)
            with suppress(KeyboardInterrupt):
                self._detect(passing, None, stem, found, 30.0, None)
        self._write(open_source(recording), stem, found)

    def _detect(
        self,
        source: VideoSource | Iterable[StreamFrame],
        frames: Iterable[StreamFrame] | None,
        stem: Path,
        found: list[People],
        fps: float,
        duration: float | None,
        times: Iterable[float] | None = None,
    ) -> None:
        total = int(duration * self.predictor.keyframes_per_second) + 1 if duration else None
        with (
            LineFile(beside(stem, ".jsonl")) as lines,
            tqdm(total=total, unit=" key frames", desc=stem.name) as bar,
        ):
            for keyframe in self.predictor.predict(source, frames, times):
                found.append(keyframe)
                # Each line is flushed at once, as other programs may follow a stream.
                lines.write(self.results.line(stem, keyframe))
                bar.update()
                frames_a_second = (
                    (keyframe.timestamp - found[0].timestamp) * fps / max(bar.format_dict["elapsed"], 1e-6)
                )
                bar.set_postfix_str(f"{frames_a_second:.0f} fps", refresh=False)

    def _write(self, video: VideoSource, stem: Path, found: list[People]) -> None:
        rate, persons = self.predictor.keyframes_per_second, self.predictor.persons
        self.results.write_for_programs(video, stem, found, rate, persons)
        self.counts += [len(keyframe.scores) for keyframe in found]
        self.results.write_to_look_at(video, stem, found)


def chained(first: StreamFrame, rest: Iterable[StreamFrame]) -> Iterable[StreamFrame]:
    """Yield one frame, then the others."""
    yield first
    yield from rest
