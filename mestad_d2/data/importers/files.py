"""Detect the format of other tools' files and read them."""

from __future__ import annotations

import io
import tempfile
import zipfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from mestad_d2.data.importers.coco import read_coco
from mestad_d2.data.importers.cvat import read_cvat
from mestad_d2.data.importers.label_studio import is_label_studio, read_label_studio
from mestad_d2.data.importers.mot import read_mot
from mestad_d2.data.importers.reading import read_json, read_text
from mestad_d2.data.importers.tracks import Labels
from mestad_d2.data.importers.vatic import is_vatic, read_vatic
from mestad_d2.data.importers.via import is_via, read_via
from mestad_d2.errors import UserError
from mestad_d2.video.source import open_source
from mestad_d2.video.video_locations import find_video

FORMATS = ("cvat", "label-studio", "via", "coco", "mot", "vatic")
# Text that is unpacked of an archive, in bytes.
MAX_UNPACKED = 2**30


@dataclass(frozen=True)
class Sizes:
    """Width and height of frames where an export does not say them: as given, else those of the file."""

    given: tuple[float, float] | None = None
    videos: str | None = None

    def get(self, video_id: str) -> tuple[float, float] | None:
        """Return the size of a video; None where it is unknown."""
        if self.given is not None or self.videos is None or not video_id:
            return self.given
        path = find_video(self.videos, video_id)
        if path is None:
            return None
        source = open_source(path)
        return float(source.width), float(source.height)


def read_labels(
    path: Path, kind: str | None, sizes: Sizes, first_frame: int | None = None, video: str | None = None
) -> Labels:
    """Read a file of any format, or a folder of MOT; an archive as the tool gives it is unpacked.

    Args:
        path: the file.
        kind: one of ``FORMATS``; None: found out from the content.
        sizes: of frames, for formats that do not say them.
        first_frame: number of the first frame, of formats that leave it open.
        video: id of the video, where the file holds one.

    Raises:
        UserError: no format that is known, or malformed; names the entry.
    """
    if kind is not None and kind not in FORMATS:
        raise UserError(f"--format {kind}: is unknown; use one of {', '.join(FORMATS)}")
    with _unpacked(path) as file:
        labels = _read(file, kind or kind_of(file), sizes, first_frame)
    if video is not None:
        if len(labels.videos) != 1:
            raise UserError(f"{path}: holds {len(labels.videos)} videos; --video names a single one")
        labels.videos[0].video_id = video
    return labels


def kind_of(path: Path) -> str:
    """Detect which of ``FORMATS`` a file has, from its content.

    Raises:
        UserError: none of them.
    """
    if path.is_dir():
        if (path / "gt" / "gt.txt").is_file():
            return "mot"
        raise UserError(f"{path}: a folder without gt/gt.txt; give the file that the tool exported")
    text = read_text(path)
    start = text.lstrip()[:1]
    if start == "<":
        return "cvat"
    if start in ("{", "["):
        return "label-studio" if is_label_studio(read_json(path)) else "coco"
    if is_via(text):
        return "via"
    if is_vatic(text):
        return "vatic"
    first = text.split("\n", 1)[0].split(",")
    if len(first) >= 6 and all(part.strip().lstrip("-").replace(".", "", 1).isdigit() for part in first[:6]):
        return "mot"
    raise UserError(f"{path}: of no format that is known; give --format, one of {', '.join(FORMATS)}")


def _read(path: Path, kind: str, sizes: Sizes, first_frame: int | None) -> Labels:
    if kind == "cvat":
        return read_cvat(path, sizes)
    if kind == "label-studio":
        return read_label_studio(read_json(path), path, sizes)
    if kind == "via":
        return read_via(path, sizes)
    if kind == "coco":
        return read_coco(read_json(path), path, first_frame)
    return read_mot(path, sizes) if kind == "mot" else read_vatic(path, sizes)


@contextmanager
def _unpacked(path: Path) -> Iterator[Path]:
    """The labels of an archive as a tool exports it, in a folder that goes afterwards; other files as they are."""
    if path.suffix.lower() != ".zip":
        yield path
        return
    wanted = (".xml", ".json", ".txt", ".csv", ".ini")
    try:
        with zipfile.ZipFile(path) as archive, tempfile.TemporaryDirectory() as folder:
            members = [
                m for m in archive.infolist() if not m.is_dir() and m.filename.lower().endswith(wanted)
            ]
            if sum(member.file_size for member in members) > MAX_UNPACKED:
                raise UserError(
                    f"{path}: more than {MAX_UNPACKED >> 20} MiB of labels; unpack it and give the file"
                )
            root = Path(folder).resolve()
            for member in members:
                target = (root / member.filename).resolve()
                if not target.is_relative_to(root):
                    raise UserError(f"{path}: {member.filename!r} leaves the archive; export it anew")
                target.parent.mkdir(parents=True, exist_ok=True)
                with archive.open(member) as source:
                    target.write_bytes(io.BytesIO(source.read(member.file_size + 1)).getvalue())
            yield _one_of(path, root)
    except (zipfile.BadZipFile, OSError, NotImplementedError, RuntimeError) as error:
        raise UserError(f"{path}: no archive that can be read ({error}); export it anew") from error


def _one_of(path: Path, root: Path) -> Path:
    """The file of labels among those of an archive."""
    mot = next(iter(sorted(root.rglob("gt/gt.txt"))), None)
    if mot is not None:
        return mot
    for suffix in (".xml", ".json", ".csv"):
        found = sorted(root.rglob(f"*{suffix}"))
        if len(found) == 1:
            # The archive's name is the video id where the file inside is called annotations.xml.
            named = found[0].with_name(path.stem + suffix)
            named.write_bytes(found[0].read_bytes())
            return named
    raise UserError(f"{path}: no single file of labels in it; unpack it and give the file")


def check_videos(files: Sequence[tuple[Path, Labels]]) -> None:
    """Raise UserError where two videos would become one in the csv."""
    seen: dict[str, tuple[Path, str]] = {}
    for path, labels in files:
        for video in labels.videos:
            if video.video_id in seen:
                before, source = seen[video.video_id]
                raise UserError(
                    f"{video.video_id!r} is the name of {source} ({before}) and of {video.source} ({path}); convert them "
                    "apart, and name one with --video"
                )
            seen[video.video_id] = path, video.source


def parsed_size(text: str | None) -> tuple[float, float] | None:
    """Parse ``1280x720`` to width and height.

    Raises:
        UserError: it is something else.
    """
    if text is None:
        return None
    parts = text.lower().split("x")
    if len(parts) != 2 or not all(part.isdigit() and 0 < int(part) <= 65536 for part in parts):
        raise UserError(f"--size {text}: write WIDTHxHEIGHT in pixels, as 1280x720")
    return float(parts[0]), float(parts[1])
