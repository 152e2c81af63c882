"""Output files of a run: the csv, and the formats of annotation tools for corrections."""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from mestad_d2.densify.detections.video import DetectedVideo
from mestad_d2.densify.formats.coco import VideoFacts, read_coco, write_coco
from mestad_d2.densify.formats.csv_files import read_dense_csv, write_dense_csv
from mestad_d2.densify.formats.cvat import label_spec, read_cvat, write_cvat
from mestad_d2.densify.formats.other_forms import read_other_cvat
from mestad_d2.densify.pipeline import Dense
from mestad_d2.densify.review.page import write_page
from mestad_d2.densify.review.stretches import cards, film_strip
from mestad_d2.errors import UserError
from mestad_d2.formats.ava_csv import AnnotationRow
from mestad_d2.formats.files import write_json


@dataclass(frozen=True)
class OutputPaths:
    """``dense.csv``, ``dense.json`` (COCO-style), ``dense.cvat/`` (an xml a video), and the review if wanted."""

    csv: Path
    review: Path | None = None

    @property
    def coco(self) -> Path:
        """COCO-style json."""
        return self.csv.with_suffix(".json")

    @property
    def cvat(self) -> Path:
        """Folder of CVAT files."""
        return self.csv.with_suffix(".cvat")

    @property
    def parts(self) -> Path:
        """The teacher's detections, one file per video, while a run is unfinished."""
        return self.csv.with_name(self.csv.name + ".parts")

    @property
    def unfinished(self) -> Path:
        """Marker that exists while the other files are being written, which may then be replaced."""
        return self.parts / "writing"

    def refuse_existing(self) -> None:
        """Raise UserError if a file would be replaced, unless the run that wrote it continues."""
        if self.unfinished.exists():
            return
        for path in (self.csv, self.coco, self.cvat, self.review):
            if path is not None and path.exists():
                raise UserError(f"{path}: is there already; add --overwrite or name another output")


def facts_of(video: DetectedVideo) -> VideoFacts:
    """Return what formats with frame numbers need to know about a video."""
    source = video.source
    return VideoFacts(video.video_id, source.place, source.height, source.width, source.start, video.times)


def write_all(
    paths: OutputPaths,
    annotations: Path,
    videos: Sequence[DetectedVideo],
    dense: Dense,
    names: dict[int, str],
    review_cards: int,
) -> None:
    """Write every file; each appears whole or not at all. A run that is stopped here can be repeated."""
    paths.parts.mkdir(parents=True, exist_ok=True)
    paths.unfinished.touch()
    write_dense_csv(paths.csv, annotations, (found.row for found in dense.rows))
    rows = read_dense_csv(paths.csv)
    facts = {video.video_id: facts_of(video) for video in videos}
    rows = [row for row in rows if row.video_id in facts]
    write_coco(paths.coco, list(facts.values()), rows, names)
    for video_id, video in facts.items():
        write_cvat(cvat_file(paths.cvat, video_id), video, [r for r in rows if r.video_id == video_id], names)
    paths.cvat.mkdir(exist_ok=True)
    used = {**{row.action_id: f"action {row.action_id}" for row in rows}, **names}
    write_json(paths.cvat / "labels.json", label_spec(used))
    if paths.review is not None:
        by_id = {video.video_id: video for video in videos}
        found = cards(dense)
        shown = [
            (card, film_strip(card, by_id[card.stretch.detected.video_id])) for card in found[:review_cards]
        ]
        write_page(paths.review, shown, len(found), names)
    shutil.rmtree(paths.parts, ignore_errors=True)


def cvat_file(folder: Path, video_id: str) -> Path:
    """Return the path of a video's xml file; ids with slashes become folders."""
    return folder / f"{video_id}.xml"


def read_corrected(
    path: Path,
    facts: dict[str, VideoFacts],
    before: Sequence[AnnotationRow],
    names: Mapping[int, str] | None = None,
) -> tuple[list[AnnotationRow], list[str]]:
    """Read the corrected rows of a csv, json, CVAT xml or folder of these.

    Videos without corrections keep their rows.

    Args:
        path: what came back.
        facts: of the videos, by id.
        before: rows of the csv that was corrected.
        names: actions by id, for files that name them without a number.

    Returns:
        rows, and the videos that kept theirs.

    Raises:
        UserError: a file that can't be read, gives no row, or is of a video that is not known.
    """
    if path.suffix == ".json":
        rows, seen = read_coco(path)
    elif path.suffix != ".xml" and not path.is_dir():
        rows = read_dense_csv(path)
        seen = {row.video_id for row in rows}
    else:
        rows, seen = _read_xmls(path, facts, before, names or {})
    if not rows:
        raise UserError(
            f"{path}: gives no row, while {len(before)} were to be corrected; give what the tool exported"
        )
    kept = sorted({row.video_id for row in before} - seen)
    return rows + [row for row in before if row.video_id in set(kept)], kept


def _read_xmls(
    path: Path, facts: dict[str, VideoFacts], before: Sequence[AnnotationRow], names: Mapping[int, str]
) -> tuple[list[AnnotationRow], set[str]]:
    files = sorted(path.rglob("*.xml")) if path.is_dir() else [path]
    if not files:
        raise UserError(f"{path}: no xml in this folder; store CVAT's exports there as VIDEO.xml")
    rows: list[AnnotationRow] = []
    seen: set[str] = set()
    for file in files:
        video_id = file.relative_to(path).with_suffix("").as_posix() if path.is_dir() else file.stem
        if video_id not in facts:
            raise UserError(
                f"{file}: no video {video_id!r} among the annotations; name the file as the video"
            )
        video = facts[video_id]
        rows_before = [row for row in before if row.video_id == video_id]
        texts = {video.frame(row.timestamp): row.timestamp for row in rows_before}
        found = read_cvat(file, video, texts) or read_other_cvat(file, video, rows_before, names)
        rows += found
        seen.add(video_id)
    return rows, seen
