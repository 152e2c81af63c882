#!/usr/bin/env python
"""Detect actions in videos: an annotated mp4, AVA csv, JSON, JSON lines and a strip of pictures for each."""

from __future__ import annotations

import argparse
import signal
import sys
import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from tqdm import tqdm

from mestad_d2.errors import UserError, one_line_errors
from mestad_d2.inference.arguments import (
    INPUTS,
    add_config_options,
    add_detector_arguments,
    add_people_argument,
    add_persons_arguments,
    add_rate_argument,
    add_speed_arguments,
    add_stream_argument,
    add_tubes_argument,
    add_window_arguments,
    check_streams,
    check_window,
    detector_config,
    mode_of_arguments,
    note_on_limit,
    note_on_nobody,
)
from mestad_d2.process_setup import start_quickly

# Suffixes of the output files of an input.
ENDINGS = (".mp4", ".csv", ".json", ".jsonl", ".png")


def parse(arguments: list[str] | None = None) -> argparse.Namespace:
    """Parse the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    add_detector_arguments(parser)
    add_persons_arguments(parser)
    parser.add_argument("--input", nargs="+", default=[], help=INPUTS)
    parser.add_argument("--webcam", type=int, metavar="N", help="camera number N, until Ctrl-C or --seconds")
    parser.add_argument(
        "--seconds", type=float, default=float("inf"), help="how long a camera or stream is watched"
    )
    parser.add_argument("--output", type=Path, required=True, help="folder for the results, made if absent")
    add_rate_argument(parser)
    add_window_arguments(parser)
    add_stream_argument(parser)
    parser.add_argument(
        "--score-threshold",
        type=float,
        default=0.3,
        help="least action score that is drawn (%(default)s); the csv keeps all from 0.002 on",
    )
    parser.add_argument(
        "--person-threshold", type=float, default=0.4, help="least person score that is drawn (%(default)s)"
    )
    add_tubes_argument(parser)
    add_people_argument(parser)
    parser.add_argument(
        "--font", metavar="FILE", help="font of the labels; default: one that has the names' letters"
    )
    parser.add_argument(
        "--max-labels", type=int, metavar="N", help="people with a label, at most; boxes are always drawn"
    )
    parser.add_argument(
        "--no-labels", dest="max_labels", action="store_const", const=0, help="draw boxes alone"
    )
    add_speed_arguments(parser)
    add_config_options(parser)
    args = parser.parse_args(arguments)
    if not args.input and args.webcam is None:
        parser.error("give --input or --webcam")
    if args.webcam is not None and (args.start, args.end) != (0.0, float("inf")):
        parser.error("--start and --end are for films; a camera is watched for --seconds")
    return args


if __name__ == "__main__":
    # Before the imports below, which take seconds: --help and wrong flags are answered at once.
    ARGUMENTS = parse()
    start_quickly()

from detectron2.config import CfgNode

from mestad_d2.data.person_boxes import write_person_boxes
from mestad_d2.formats.files import atomic_path
from mestad_d2.formats.output_paths import refuse_overwriting_inputs
from mestad_d2.inference.action_names import ActionNames, action_names
from mestad_d2.inference.inputs import find_inputs
from mestad_d2.inference.output_files import LineFile, made_if_used, said_if_unwritable
from mestad_d2.inference.person_detector.sources import DetectedPersons
from mestad_d2.inference.predictor import VideoPredictor
from mestad_d2.inference.results.fonts import note_on_letters, use_font
from mestad_d2.inference.results.outputs import (
    filter_by_score,
    json_line,
    write_csv,
    write_json,
    write_strip,
    write_video,
)
from mestad_d2.inference.tubes.outputs import ENDINGS as TUBE_ENDINGS
from mestad_d2.inference.tubes.outputs import write_all as write_tubes
from mestad_d2.inference.tubes.video_tubes import tubes_of_video
from mestad_d2.people import People
from mestad_d2.process_setup import keep_freed_memory
from mestad_d2.video.decode.missing_end import LastSeen, missing_end
from mestad_d2.video.live.address import is_address, shown_address
from mestad_d2.video.live.frames import LiveFrames
from mestad_d2.video.output.writer import VideoWriter, recorded
from mestad_d2.video.source import VideoSource, open_source
from mestad_d2.video.stream import StreamFrame, iterate_frames


class Demo:
    """Run the model over videos and write results below ``args.output``."""

    def __init__(self, args: argparse.Namespace, predictor: VideoPredictor, names: ActionNames) -> None:
        self.args, self.predictor, self.names = args, predictor, names
        self.counts: list[int] = []

    def file(self, video: str, stem: Path) -> None:
        """Process a video file or a folder of frames.

        Raises:
            UserError: nothing there that can be decoded; or its end is missing, which is told when the
                results of the rest are written.
        """
        source = open_source(video, folder_fps=self.predictor.folder_fps, stream=self.args.stream)
        source = source.between(self.args.start, self.args.end)
        found: list[People] = []
        frames = LastSeen(iterate_frames(self.predictor.needed(source)))
        try:
            self._detect(source, frames, stem, found, source.fps, source.window_seconds())
        except UserError:
            beside(stem, ".jsonl").unlink(missing_ok=True)
            raise
        self._write_all(source, stem, found)
        if missing := missing_end(source, frames.time):
            raise UserError(
                f"{video}: the last {missing:.1f} of {source.duration:.1f} s are missing from the file; the "
                "results are of what is there; download or copy it again"
            )

    def stream(self, address: str, stem: Path) -> None:
        """Process a stream of the network; what was taken of it is recorded beside the results.

        Raises:
            UserError: no video comes from the address.
        """
        live = LiveFrames(address, self.args.seconds)
        frames, batch_size = iter(live), self.predictor.batch_size
        first = next(frames)
        recording, found = beside(stem, "_recording.mp4"), []
        if live.live:
            # A key frame is not kept waiting for the next ones.
            self.predictor.batch_size = 1
        try:
            with recording_to(recording) as writer, ended_by_ctrl_c(live):
                passing = recorded(chained(first, frames), writer, self.args.seconds)
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
        self._write_all(open_source(recording), stem, found)

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
            passing = recorded(chained(first, frames), writer, self.args.seconds)
            print("watching; Ctrl-C ends it", file=sys.stderr)
            with suppress(KeyboardInterrupt):
                self._detect(passing, None, stem, found, 30.0, None)
        self._write_all(open_source(recording), stem, found)

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
                sure = filter_by_score(keyframe, self.args.person_threshold)
                # Each line is flushed at once, as other programs may follow a stream.
                lines.write(json_line(stem.name, sure, self.names, self.args.score_threshold))
                bar.update()
                frames_a_second = (
                    (keyframe.timestamp - found[0].timestamp) * fps / max(bar.format_dict["elapsed"], 1e-6)
                )
                bar.set_postfix_str(f"{frames_a_second:.0f} fps", refresh=False)

    def _write_all(self, video: VideoSource, stem: Path, found: list[People]) -> None:
        if self.args.tubes:
            tubes = list(tubes_of_video(found, self.predictor.keyframes_per_second))
            end = min(video.seconds() or (found[-1].timestamp if found else 0.0), video.window[1])
            write_tubes(stem, tubes, self.names, self.args.score_threshold, video.fps, end)
        # Low scores are kept only in the csv, which is for evaluation.
        write_csv(beside(stem, ".csv"), stem.name, found, threshold=0.002)
        if isinstance(self.predictor.persons, DetectedPersons):
            self._write_persons(stem, found, self.predictor.persons)
        self.counts += [len(keyframe.scores) for keyframe in found]
        found = [filter_by_score(keyframe, self.args.person_threshold) for keyframe in found]
        shown = self.names, self.args.score_threshold
        write_json(beside(stem, ".json"), stem.name, found, *shown)
        write_strip(beside(stem, ".png"), video, found, *shown, max_labels=self.args.max_labels)
        seconds = video.window_seconds()
        total = round(seconds * video.fps) if seconds else None
        with tqdm(total=total, unit=" frames", desc=f"{stem.name}: drawing", leave=False) as bar:
            write_video(
                beside(stem, ".mp4"), video, found, *shown, max_labels=self.args.max_labels,
                progress=lambda _: bar.update(),
            )  # fmt: skip
        more = "".join(f", {ending}" for ending in TUBE_ENDINGS) if self.args.tubes else ""
        print(f"{stem}.mp4, .csv, .json, .jsonl, .png{more}")

    def _write_persons(self, stem: Path, found: list[People], persons: DetectedPersons) -> None:
        """Write the person detector's boxes, so that another run needs no detector, and print its time."""
        people = {(stem.name, round(keyframe.timestamp, 3)): keyframe for keyframe in found}
        write_person_boxes(beside(stem, ".persons.csv"), people)
        if persons.pictures:
            each = persons.seconds / persons.pictures
            print(f"person detector: {each:.3f} s a key frame; boxes in {beside(stem, '.persons.csv')}")


@contextmanager
def recording_to(path: Path) -> Iterator[VideoWriter]:
    """Give a writer of a recording that appears under its name when it is closed; an earlier one stays until then."""
    with atomic_path(path, keep_suffix=True) as aside, VideoWriter(aside, 30.0) as writer:
        yield writer


def beside(stem: Path, ending: str) -> Path:
    """Return ``stem`` with a suffix added; the name may contain dots."""
    return stem.with_name(stem.name + ending)


def chained(first: StreamFrame, rest: Iterable[StreamFrame]) -> Iterable[StreamFrame]:
    """Yield one frame, then the others."""
    yield first
    yield from rest


def stems(inputs: list[str], output: Path) -> list[Path]:
    """Return the output path of each input: its name without suffix, numbered where names repeat."""
    taken: list[Path] = []
    for video in inputs:
        path = Path(shown_address(video)).resolve()
        name = path.name if path.is_dir() else path.stem
        wanted = [output / name, *(output / f"{name}_{i}" for i in range(2, len(inputs) + 2))]
        taken.append(next(stem for stem in wanted if stem not in taken))
    return taken


@contextmanager
def ended_by_ctrl_c(live: LiveFrames) -> Iterator[None]:
    """Let the first Ctrl-C end a stream, so that what came of it is still detected and written."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def end(number: int, frame: object) -> None:
        live.stop()
        signal.signal(signal.SIGINT, before)

    before = signal.signal(signal.SIGINT, end)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


@one_line_errors()
def main(args: argparse.Namespace) -> int:
    """Run over all inputs; one that fails does not stop the others. Returns the exit status."""
    check_window(args)
    args.input = find_inputs(args.input)
    check_streams(args, args.input)
    places = stems(args.input, args.output)
    cfg = detector_config(args)
    refuse_overwriting_inputs(
        [*args.input, args.config_file, args.labels, cfg.MODEL.WEIGHTS],
        [beside(stem, ending) for stem in places for ending in (*ENDINGS, *TUBE_ENDINGS)],
    )
    with made_if_used(args.output):
        return detect(args, cfg, places)


def detect(args: argparse.Namespace, cfg: CfgNode, places: list[Path]) -> int:
    """Run over all inputs with results at ``places``; returns the exit status."""
    keep_freed_memory(cfg.MODEL.DEVICE)
    names = action_names(cfg, args.labels)
    use_font(args.font)
    if note := note_on_letters(names.names.values()):
        print(f"note: {note}", file=sys.stderr)
    predictor = VideoPredictor(
        cfg,
        speed=mode_of_arguments(args, cfg.MODEL.DEVICE),
        keyframes_per_second=args.keyframes_per_second,
        mode=args.mode,
    )
    demo, failed = Demo(args, predictor, names), 0
    for video, stem in zip(args.input, places, strict=True):
        try:
            with said_if_unwritable(stem):
                (demo.stream if is_address(video) else demo.file)(video, stem)
        except UserError as error:
            failed += 1
            print(f"error: {error}", file=sys.stderr)
    if args.webcam is not None:
        stem = args.output / f"camera{args.webcam}"
        with said_if_unwritable(stem):
            demo.camera(args.webcam, stem)
    for note in (note_on_limit(cfg, demo.counts), note_on_nobody(cfg, demo.counts)):
        if note:
            print(f"note: {note}", file=sys.stderr)
    return 2 if failed else 0


if __name__ == "__main__":
    sys.exit(main(ARGUMENTS))
