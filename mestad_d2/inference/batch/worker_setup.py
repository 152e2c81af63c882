"""Set up a worker on any machine as a detector that turns a video into JSON lines."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass

import cv2
import torch
from detectron2.config import CfgNode

from mestad_d2.errors import UserError
from mestad_d2.inference.action_names import ActionNames
from mestad_d2.inference.batch.local_workers import alive
from mestad_d2.inference.predictor import VideoPredictor
from mestad_d2.inference.results.outputs import filter_by_score, json_line
from mestad_d2.inference.speed.modes import SpeedMode
from mestad_d2.inference.tubes.outputs import shown, tube_line
from mestad_d2.inference.tubes.video_tubes import ActionTube, VideoTubes
from mestad_d2.load_config import import_extensions
from mestad_d2.process_setup import keep_freed_memory
from mestad_d2.video.decode.missing_end import LastSeen, refuse_missing_end
from mestad_d2.video.live.address import is_address, shown_address
from mestad_d2.video.live.frames import LiveFrames
from mestad_d2.video.source import open_source
from mestad_d2.video.stream import iterate_frames


@dataclass(frozen=True)
class WorkerSetup:
    """Everything a worker needs, read and checked before it is sent.

    Attributes:
        cfg: full config; its weights must be there under the same path on every machine.
        names: of the actions.
        speed: see ``SpeedMode``.
        keyframes_per_second: how often actions are detected.
        score_threshold: least score of an action in the result.
        person_threshold: least score of a person in the result.
        threads: that a worker computes with.
        imports: see ``import_extensions``.
        mode: "clip" or "pass", see ``VideoPredictor``.
        tubes: whether lines of tubes follow those of the key frames.
        start: first second of each film that is looked at.
        end: second of each film before which to end.
        seconds: how long a stream is watched.
        stream: picture stream of files that have several, from 0; None: the best one.
    """

    cfg: CfgNode
    names: ActionNames
    speed: SpeedMode
    keyframes_per_second: float
    score_threshold: float
    person_threshold: float
    threads: int
    imports: tuple[str, ...] = ()
    mode: str = "clip"
    tubes: bool = False
    start: float = 0.0
    end: float = float("inf")
    seconds: float = float("inf")
    stream: int | None = None

    def settings(self) -> dict:
        """Return the settings that results depend on, by name, for ``check_settings``."""
        settings = {
            "config": self._config(),
            "weights": weights_digest(self.cfg.MODEL.WEIGHTS),
            "precision": self.speed.precision,
            "names": {str(key): name for key, name in sorted(self.names.names.items())},
            "keyframes_per_second": self.keyframes_per_second,
            "score_threshold": self.score_threshold,
            "person_threshold": self.person_threshold,
        }
        # Left out where it is the default: results of earlier versions can be added to.
        more = {"mode": self.mode} if self.mode != "clip" else {}
        if (self.start, self.end) != (0.0, float("inf")):
            more["window"] = f"{self.start:g} to {self.end:g} s"
        if self.seconds != float("inf"):
            more["seconds"] = self.seconds
        if self.stream is not None:
            more["stream"] = self.stream
        return settings | more | ({"tubes": True} if self.tubes else {})

    def _config(self) -> str:
        """The config as text, without places and the device: the same weights may lie elsewhere."""
        cfg = self.cfg.clone()
        cfg.defrost()
        cfg.MODEL.WEIGHTS, cfg.OUTPUT_DIR, cfg.MODEL.DEVICE = "", "", ""
        return cfg.dump()

    def _stream(self, address: str) -> LiveFrames:
        stream = LiveFrames(address, self.seconds)
        if stream.live and self.seconds == float("inf"):
            stream.stop()
            raise UserError(f"{stream.name}: a stream has no end; give --seconds")
        return stream

    def __call__(self, number: int) -> Callable[[str], bytes]:
        """Return the function video -> JSON lines of worker ``number``; workers share the GPUs in turn."""
        import_extensions(self.imports)
        torch.set_num_threads(self.threads)
        cv2.setNumThreads(self.threads)
        cfg = self.cfg.clone()
        cfg.defrost()
        if cfg.MODEL.DEVICE == "cuda" and torch.cuda.device_count() > 1:
            cfg.MODEL.DEVICE = f"cuda:{number % torch.cuda.device_count()}"
        cfg.freeze()
        keep_freed_memory(cfg.MODEL.DEVICE)
        predictor = VideoPredictor(
            cfg, speed=self.speed, keyframes_per_second=self.keyframes_per_second, mode=self.mode
        )

        def detect(video: str) -> bytes:
            lines, linker = [], VideoTubes(self.keyframes_per_second) if self.tubes else None
            tubes: list[ActionTube] = []
            source, name = None, shown_address(video)
            if is_address(video):
                stream = self._stream(video)
                detections = predictor.predict(stream, times=stream.key_times(self.keyframes_per_second))
            else:
                source = open_source(video, folder_fps=predictor.folder_fps, stream=self.stream)
                source = source.between(self.start, self.end)
                frames = LastSeen(iterate_frames(predictor.needed(source)))
                detections = predictor.predict(source, frames)
            for found in detections:
                people = filter_by_score(found, self.person_threshold)
                lines.append(json_line(name, people, self.names, self.score_threshold))
                tubes += linker.update(found) if linker else []
                alive()
            if source is not None:
                refuse_missing_end(source, video, frames.time)
            tubes += linker.finish() if linker else []
            lines += [
                tube_line(name, tube, self.names) for tube in shown(tubes, self.names, self.score_threshold)
            ]
            return "".join(lines).encode()

        return detect


def weights_digest(path: str) -> str:
    """Return the sha256 of a local weights file; the address itself of a remote one.

    Raises:
        UserError: no such file.
    """
    if not path or "://" in path:
        return path
    try:
        with open(path, "rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise UserError(
            f"MODEL.WEIGHTS: {path} can't be read ({error.strerror}); give a weights file"
        ) from error
