"""Videos of the app: detect once, draw for every change of thresholds, remove all files."""

from __future__ import annotations

import html
import os
import re
import secrets
import shutil
import threading
import time
import traceback
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path

from mestad_d2.errors import UserError
from mestad_d2.inference.action_names import ActionNames
from mestad_d2.inference.app.uploads import Uploads
from mestad_d2.inference.predictor import VideoPredictor
from mestad_d2.inference.results.drawing import track_color
from mestad_d2.inference.results.outputs import filter_by_score, write_csv, write_video
from mestad_d2.inference.results.timeline import MAX_ACTIONS, Actor, actors_of, write_timeline
from mestad_d2.inference.tubes.outputs import shown, write_ribbons
from mestad_d2.inference.tubes.video_tubes import tubes_of_video
from mestad_d2.people import People
from mestad_d2.process_setup import return_freed_memory
from mestad_d2.video.source import VideoSource, open_source

MAX_PIXELS = 4096 * 2304


@dataclass(frozen=True)
class Limits:
    """``seconds``: longest video; ``wait``: longest time a detection, or a drawing, may take, in s."""

    seconds: float = 120.0
    wait: float = 600.0


@dataclass(frozen=True)
class Analysis:
    """A detected video in a folder of its own; ``upload`` is the visitor's file, ``end`` in s."""

    folder: Path
    upload: Path
    video: Path
    name: str
    end: float
    detections: tuple[People, ...]


@dataclass(frozen=True)
class Drawn:
    """What people see: files and a summary as html."""

    video: Path
    timeline: Path
    tubes: Path
    csv: Path
    summary: str


class Superseded(Exception):
    """A drawing was given up because a newer one of the same video has begun."""


class AppSession:
    """Detects and draws; all its files are below ``folder``. Visitors may be served by several threads at once.

    Args:
        predictor: runs the model.
        names: of the actions.
        limits: limits of a video.
        folder: where a folder for each video is made.
    """

    def __init__(self, predictor: VideoPredictor, names: ActionNames, limits: Limits, folder: Path) -> None:
        self.predictor, self.names, self.limits, self.folder = predictor, names, limits, folder
        # Number of the newest drawing of each video.
        self._drawings: dict[Path, int] = {}
        self._lock = threading.Lock()
        # matplotlib is not made for several threads, and opens its fonts anew for each that draws.
        self._pictures = ThreadPoolExecutor(1)

    def analyse(self, video: str, progress: Callable[[float], None] = lambda share: None) -> Analysis:
        """Run the model over an uploaded file, which may be removed afterwards.

        Raises:
            UserError: no video, or beyond the limits; the message names the file without its folder.
        """
        path = Path(video)
        # Files can be fetched by name, so names must not be guessable.
        folder = self.folder / secrets.token_hex(16)
        folder.mkdir(mode=0o700, parents=True)
        try:
            # Our own name and folder, so that no result collides with the user's file name.
            suffix = path.suffix.lower() if re.fullmatch(r"[.][A-Za-z0-9]{1,5}", path.suffix) else ""
            (folder / "upload").mkdir()
            copy = folder / "upload" / f"input{suffix}"
            _link(path, copy)
            detections = self._detect(copy, progress)
        except BaseException as error:
            shutil.rmtree(folder, ignore_errors=True)
            # Else the error holds the clips of the video until it is forgotten.
            traceback.clear_frames(error.__traceback__)
            if isinstance(error, UserError):
                raise UserError(str(error).replace(str(folder / "upload" / "input"), "input")) from error
            raise
        finally:
            return_freed_memory()
        # Containers of recordings often lack the duration.
        end = max(limited(copy).duration or 0.0, detections[-1].timestamp if detections else 0.0)
        return Analysis(folder, path, copy, safe_stem(path), end, tuple(detections))

    def draw(self, analysis: Analysis, score_threshold: float, person_threshold: float) -> Drawn:
        """Draw without running the model; replaces what was drawn before.

        Raises:
            UserError: the analysis was cleaned up meanwhile, or drawing took longer than the limit.
            Superseded: another drawing of the same video has begun.
        """
        if not analysis.video.exists():
            raise UserError("this video was removed after a while; upload it again")
        number = self._begin_drawing(analysis)
        folder = analysis.folder / f"drawn_{number}"
        try:
            folder.mkdir()
            found = [filter_by_score(keyframe, person_threshold) for keyframe in analysis.detections]
            actors = actors_of(found, self.names, score_threshold, analysis.end)
            drawn = Drawn(
                video=folder / f"{analysis.name}.mp4",
                timeline=folder / "timeline.png",
                tubes=folder / "tubes.png",
                csv=folder / f"{analysis.name}.csv",
                summary=summary_html(actors),
            )
            go_on = self._still_wanted(analysis, number)
            write_video(
                drawn.video, limited(analysis.video), found, self.names, score_threshold, progress=go_on
            )
            tubes = shown(
                tubes_of_video(found, self.predictor.keyframes_per_second), self.names, score_threshold
            )
            # One after the other: a second that still ran after an error would make the removed folder anew.
            self._pictures.submit(write_timeline, drawn.timeline, actors, analysis.end).result()
            self._pictures.submit(write_ribbons, drawn.tubes, tubes, self.names, analysis.end).result()
            write_csv(drawn.csv, analysis.name, found, score_threshold)
            go_on(0.0)
        except BaseException as error:
            shutil.rmtree(folder, ignore_errors=True)
            traceback.clear_frames(error.__traceback__)
            # A newer drawing that is done has removed the folder: that is no full disk.
            if isinstance(error, UserError | OSError) and self._drawings.get(analysis.folder) != number:
                raise Superseded from error
            raise
        finally:
            return_freed_memory()
        for older in analysis.folder.glob("drawn_*"):
            if int(older.name.removeprefix("drawn_")) < number:
                shutil.rmtree(older, ignore_errors=True)
        return drawn

    def _begin_drawing(self, analysis: Analysis) -> int:
        for used in (analysis.video, analysis.upload):
            Uploads.touch(used)
        with self._lock:
            self._drawings[analysis.folder] = self._drawings.get(analysis.folder, 0) + 1
            return self._drawings[analysis.folder]

    def _still_wanted(self, analysis: Analysis, number: int) -> Callable[[float], None]:
        """Check at every frame, at ``time`` s of the video, whether drawing may continue."""
        start = time.monotonic()

        def ask(seconds: float) -> None:
            if self._drawings.get(analysis.folder) != number:
                raise Superseded
            if time.monotonic() - start > self.limits.wait:
                raise UserError(f"not drawn after {self.limits.wait:g} s; give a shorter or smaller video")

        return ask

    def forget(self, analysis: Analysis | None, keep: Path | None = None) -> None:
        """Remove all files of a video, the visitor's upload too unless it is ``keep``."""
        if analysis is not None:
            with self._lock:
                self._drawings.pop(analysis.folder, None)
            shutil.rmtree(analysis.folder, ignore_errors=True)
            # A file outside our folder belongs to the user.
            ours = analysis.upload.resolve().is_relative_to(self.folder.resolve())
            if ours and (keep is None or analysis.upload != Path(keep)):
                analysis.upload.unlink(missing_ok=True)

    def _detect(self, video: Path, progress: Callable[[float], None]) -> list[People]:
        source = limited(video)
        if source.width * source.height > MAX_PIXELS:
            raise UserError(f"{source.width}x{source.height} pixels are too many; give at most 4096x2304")
        longest = self.limits.seconds
        duration = source.duration
        too_long = f"longer than {longest:g} s; cut the video"
        if duration is not None and duration > longest + 0.5:
            raise UserError(f"{duration:.0f} s are {too_long}")
        start, detections = time.monotonic(), []
        for found in self.predictor.predict(source):
            # The container's duration may be wrong.
            if found.timestamp > longest + 0.5:
                raise UserError(too_long)
            if time.monotonic() - start > self.limits.wait:
                raise UserError(f"not done after {self.limits.wait:g} s; give a shorter or smaller video")
            detections.append(found)
            progress(min(found.timestamp / (duration or longest), 1.0))
        return detections


def limited(video: Path) -> VideoSource:
    """Describe an uploaded file, of which no picture may be larger than the limit, also further on."""
    return replace(open_source(video), max_pixels=MAX_PIXELS)


def summary_html(actors: Sequence[Actor]) -> str:
    """Format one line per actor: number, seconds and actions. Names are escaped."""
    if not actors:
        return "<p class='nobody'>Nobody above the thresholds.</p>"
    lines = []
    for actor in actors:
        red, green, blue = track_color(actor.track_id)
        parts = [
            f"<span>{html.escape(name)} <b>{sum(b - a for a, b, _ in spans):.1f} s</b></span>"
            for name, spans in list(actor.actions.items())[:MAX_ACTIONS]
        ]
        lines.append(
            f"<li><i style='background:rgb({red},{green},{blue})'>#{actor.track_id}</i>"
            f"<em>{actor.seen[0][0]:.1f} - {actor.seen[-1][1]:.1f} s</em>{''.join(parts)}</li>"
        )
    return f"<ul class='actors'>{''.join(lines)}</ul>"


def safe_stem(path: Path) -> str:
    """Return a video's name for files and csv rows, without paths, formulas and control characters."""
    return re.sub(r"[^\w.-]+", "_", path.stem).strip("._-")[:80] or "video"


def _link(source: Path, target: Path) -> None:
    try:
        os.link(source, target)
    except OSError:
        shutil.copyfile(source, target)
