"""Name and write all result files of a video: annotated mp4, AVA csv, JSON, a strip of pictures, tubes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tqdm import tqdm

from mestad_d2.data.person_boxes import write_person_boxes
from mestad_d2.inference.action_names import ActionNames
from mestad_d2.inference.person_detector.sources import DetectedPersons, PersonSource
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
from mestad_d2.video.live.address import shown_address
from mestad_d2.video.source import VideoSource

# Suffixes of the output files of an input.
ENDINGS = (".mp4", ".csv", ".json", ".jsonl", ".png")


@dataclass(frozen=True)
class ResultFiles:
    """What the result files of every video show.

    Attributes:
        names: of the actions.
        score_threshold: least score of an action that is shown; the csv keeps all from 0.002 on.
        person_threshold: least score of a person that is shown.
        max_labels: people with a label on a frame, at most; None: all.
        tubes: whether action tubes are written too.
    """

    names: ActionNames
    score_threshold: float
    person_threshold: float
    max_labels: int | None = None
    tubes: bool = False

    def line(self, stem: Path, found: People) -> str:
        """Format a key frame as a line of JSON, see ``json_line``."""
        sure = filter_by_score(found, self.person_threshold)
        return json_line(stem.name, sure, self.names, self.score_threshold)

    def write_for_programs(
        self,
        video: VideoSource,
        stem: Path,
        found: Sequence[People],
        keyframes_per_second: float,
        persons: PersonSource | None = None,
    ) -> None:
        """Write tubes, where they are wanted, and the csv, and the boxes of a person detector.

        Args:
            video: what the detections are of.
            stem: path of the files, without the suffix.
            found: key frames in order of time.
            keyframes_per_second: see ``tubes_of_video``.
            persons: where the boxes came from.

        Raises:
            UserError: a file can't be written.
        """
        if self.tubes:
            tubes = list(tubes_of_video(found, keyframes_per_second))
            end = min(video.seconds() or (found[-1].timestamp if found else 0.0), video.window[1])
            write_tubes(stem, tubes, self.names, self.score_threshold, video.fps, end)
        # Low scores are kept only in the csv, which is for evaluation.
        write_csv(beside(stem, ".csv"), stem.name, found, threshold=0.002)
        if isinstance(persons, DetectedPersons):
            write_detected_persons(stem, found, persons)

    def write_to_look_at(self, video: VideoSource, stem: Path, found: Sequence[People]) -> None:
        """Write json, a strip of pictures and the annotated mp4, and print the names of all files.

        Raises:
            UserError: a file can't be written.
        """
        found = [filter_by_score(keyframe, self.person_threshold) for keyframe in found]
        shown = self.names, self.score_threshold
        write_json(beside(stem, ".json"), stem.name, found, *shown)
        write_strip(beside(stem, ".png"), video, found, *shown, max_labels=self.max_labels)
        seconds = video.window_seconds()
        total = round(seconds * video.fps) if seconds else None
        with tqdm(total=total, unit=" frames", desc=f"{stem.name}: drawing", leave=False) as bar:
            write_video(
                beside(stem, ".mp4"), video, found, *shown, max_labels=self.max_labels,
                progress=lambda _: bar.update(),
            )  # fmt: skip
        more = "".join(f", {ending}" for ending in TUBE_ENDINGS) if self.tubes else ""
        print(f"{stem}.mp4, .csv, .json, .jsonl, .png{more}")


def write_detected_persons(stem: Path, found: Sequence[People], persons: DetectedPersons) -> None:
    """Write the person detector's boxes, so that another run needs no detector, and print its time."""
    people = {(stem.name, round(keyframe.timestamp, 3)): keyframe for keyframe in found}
    write_person_boxes(beside(stem, ".persons.csv"), people)
    if persons.pictures:
        each = persons.seconds / persons.pictures
        print(f"person detector: {each:.3f} s a key frame; boxes in {beside(stem, '.persons.csv')}")


def beside(stem: Path, ending: str) -> Path:
    """Return ``stem`` with a suffix added; the name may contain dots."""
    return stem.with_name(stem.name + ending)


def result_stems(inputs: Sequence[str], output: Path) -> list[Path]:
    """Return the output path of each input: its name without suffix, numbered where names repeat."""
    taken: list[Path] = []
    for video in inputs:
        path = Path(shown_address(video)).resolve()
        name = path.name if path.is_dir() else path.stem
        wanted = [output / name, *(output / f"{name}_{i}" for i in range(2, len(inputs) + 2))]
        taken.append(next(stem for stem in wanted if stem not in taken))
    return taken


def paths_of_results(stems: Sequence[Path]) -> list[Path]:
    """Return the paths of all files that may be written for outputs at ``stems``."""
    return [beside(stem, ending) for stem in stems for ending in (*ENDINGS, *TUBE_ENDINGS)]
