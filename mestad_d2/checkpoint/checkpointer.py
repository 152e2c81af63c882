"""The checkpointer for ``MODEL.WEIGHTS`` and resuming, on every version of detectron2."""

from __future__ import annotations

import logging
import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from detectron2.checkpoint import DetectionCheckpointer
from detectron2.config import CfgNode
from torch import Tensor, nn

from mestad_d2.checkpoint.load_advice import hint, untrained
from mestad_d2.checkpoint.match import OWN, backbone_keys, match
from mestad_d2.checkpoint.networks import other_network
from mestad_d2.checkpoint.prefix import find_state
from mestad_d2.checkpoint.read import NotFiniteCheckpoint, UnreadableCheckpoint, read_checkpoint
from mestad_d2.checkpoint.report import LoadReport
from mestad_d2.checkpoint.settings import model_settings
from mestad_d2.checkpoint.write import DIGEST, save_whole, write_text_whole
from mestad_d2.errors import UserError

logger = logging.getLogger(__name__)

RESUMABLE = re.compile(r"model_(\d+|final)\.pth")


class MESTADCheckpointer(DetectionCheckpointer):
    """Loads weights of pytorchvideo, PySlowFast, Caffe2, mmaction2 and ours; saves whole files only.

    The format is detected from the state-dict keys, not the file name. No code in a file is run. A model is
    changed only after the whole file is read and matched. ``last_report`` describes the last load.
    """

    def __init__(
        self, model: nn.Module, save_dir: str = "", *, cfg: CfgNode | None = None, **checkpointables: Any
    ) -> None:
        """See ``DetectionCheckpointer``.

        Args:
            cfg: gives ``MODEL.WEIGHTS_ALLOW_MISSING`` and ``MODEL.WEIGHTS_SLOW_INTO_SLOWFAST``; without
                it both are off.
        """
        super().__init__(model, save_dir, **checkpointables)
        self._allow_missing = bool(cfg and cfg.MODEL.WEIGHTS_ALLOW_MISSING)
        self._slow_into_slowfast = bool(cfg and cfg.MODEL.WEIGHTS_SLOW_INTO_SLOWFAST)
        self._resuming, self._whole = False, False
        self.last_report: LoadReport | None = None
        # Id of the run; checkpoints of an earlier run in the folder are not resumed from.
        self.run: str | None = None
        # Further plain values for every checkpoint, such as settings that a resumed run is compared with.
        self.notes: dict[str, Any] = {}
        # When resuming, tensors that the checkpoint lacks stay as they are.
        self.accept_changes = False

    def load(self, path: str, *args: Any, **kwargs: Any) -> dict[str, Any]:
        """Load weights, and from our own checkpoints also the training state.

        Raises:
            UserError: no such file, unreadable, unknown format, or too little in it for the backbone.
        """
        if path and "://" not in path and not os.path.isfile(path):
            none = "" if self._whole else ", or none"
            raise UserError(f"MODEL.WEIGHTS: {path} is no file; give the path of a weights file{none}")
        try:
            return super().load(path, *args, **kwargs)
        except OSError as error:
            raise UserError(f"MODEL.WEIGHTS: {path} can't be fetched ({error}); fetch it yourself") from error
        finally:
            # Newer detectron2 keeps this set after an error and then refuses any further load.
            self._parsed_url_during_load = None

    def load_trained(self, path: str) -> dict[str, Any]:
        """Load the weights of a trained detector; no tensor may be missing.

        Raises:
            UserError: no weights are given, or parts of the model are not in them; or as ``load``.
        """
        if not path:
            if self._allow_missing:
                return self.load(path, checkpointables=[])
            raise UserError(
                "MODEL.WEIGHTS is empty: give the trained weights, as in --opts MODEL.WEIGHTS model_final.pth "
                "(tools/demo.py, detect_many.py and app.py: --weights FILE too)"
            )
        self._whole = True
        try:
            return self.load(path, checkpointables=[])
        finally:
            self._whole = False

    def resume_or_load(self, path: str, *, resume: bool = True) -> dict[str, Any]:
        """Continue from the newest readable checkpoint of the folder, else load ``path`` without training state.

        Raises:
            UserError: there are checkpoints, but none can be read; or as ``load``.
        """
        if not (resume and self.has_checkpoint()):
            return self.load(path, checkpointables=[])
        problems = []
        for candidate in self._candidates():
            self._resuming = True
            try:
                return self.load(candidate)
            except UnreadableCheckpoint as error:
                logger.warning("%s; trying the checkpoint before it", error)
                problems.append(str(error))
            finally:
                self._resuming = False
        raise UserError(
            f"{self.save_dir}: no checkpoint to resume from can be read; start without --resume or clear "
            f"the folder ({problems[0] if problems else 'the files are gone'})"
        )

    def save(self, name: str, **kwargs: Any) -> None:
        """Save model and training state as ``<name>.pth``, whole or not at all, without live objects.

        Raises:
            TypeError: state that is not made of tensors and plain values.
        """
        if not self.save_dir or not self.save_to_disk:
            return
        data: dict[str, Any] = {"model": self.model.state_dict()}
        data.update({key: item.state_dict() for key, item in self.checkpointables.items()})
        data |= self.notes | ({} if self.run is None else {"run": self.run})
        path = Path(self.save_dir) / f"{name}.pth"
        if bad := not_finite(data):
            good = self.last_good()
            raise NotFiniteCheckpoint(
                f"{path}: not saved, because {bad} is no longer finite; "
                + (f"the last good checkpoint is {good}" if good else "there is no good checkpoint before it")
            )
        logger.info("saving checkpoint %s", path)
        save_whole({**data, **kwargs}, path)
        self.tag_last_checkpoint(path.name)

    def tag_last_checkpoint(self, last_filename_basename: str) -> None:
        """Name the newest checkpoint in the file ``last_checkpoint``."""
        write_text_whole(last_filename_basename, Path(self.save_dir) / "last_checkpoint")

    def has_checkpoint(self) -> bool:
        """Return whether there is a checkpoint of this run to resume from, tagged or not."""
        return bool(self._candidates())

    def newest_head(self) -> dict[str, Any]:
        """Return the top-level plain values of the newest readable checkpoint."""
        return next((head for path in self._candidates() if (head := _head(Path(path)))), {})

    def last_good(self) -> str | None:
        """Return the newest checkpoint of this run that can be read and is finite, or None."""
        for path in self._candidates():
            try:
                self._load_file(path)
            except UserError:
                continue
            return path
        return None

    def _candidates(self) -> list[str]:
        """Checkpoints of this run to resume from, the latest iteration first."""
        folder = Path(self.save_dir) if self.save_dir else None
        if folder is None or not folder.is_dir():
            return []
        found = []
        for path in folder.iterdir():
            match = RESUMABLE.fullmatch(path.name)
            if match is None or not path.is_file():
                continue
            head = _head(path) if match[1] == "final" or self.run is not None else {}
            # A file that can't be read may be this run's; it is passed over, with a warning, when it is loaded.
            if self.run is not None and head and head.get("run") != self.run:
                continue
            iteration = head.get("iteration", -1) if match[1] == "final" else int(match[1])
            found.append((iteration, path.name, str(path)))
        tagged = Path(self.get_checkpoint_file()) if super().has_checkpoint() else None
        # A user's own file name, which has no iteration number.
        first = [str(tagged)] if tagged and tagged.is_file() and not RESUMABLE.fullmatch(tagged.name) else []
        return first + [path for *_, path in sorted(found, reverse=True)]

    def _load_file(self, filename: str) -> dict[str, Any]:
        content = read_checkpoint(filename)
        state, place, left = find_state(content)
        if not state:
            raise UnreadableCheckpoint(
                f"{filename}: holds no weights (keys: {', '.join(map(str, content))[:80]})"
            )
        if left or place not in ("", "model"):
            others = f"; {', '.join(left)} left" if left else ""
            logger.info("%s: weights under %r are taken%s", filename, place, others)
        if bad := not_finite(state):
            raise NotFiniteCheckpoint(
                f"{filename}: {bad} is not finite in it (the training that wrote it had failed); "
                "take an earlier checkpoint"
            )
        checkpoint = {"model": state, "__path__": filename}
        if isinstance(content.get("cfg"), str):
            checkpoint["__config__"] = content["cfg"]
        if place == "model":
            # Training state is ours alone: "optimizer" of another library means something else.
            checkpoint.update({k: v for k, v in content.items() if k not in (*checkpoint, DIGEST)})
        return checkpoint

    def _load_model(self, checkpoint: dict[str, Any]) -> None:
        state, path = checkpoint.pop("model"), checkpoint.pop("__path__")
        model = self.model.state_dict()
        matched = match(
            state,
            model,
            slow_into_slowfast=self._slow_into_slowfast,
            settings=model_settings(self.model),
            config=checkpoint.pop("__config__", None),
        )
        if matched is None:
            why = other_network(state, model) or (
                f"its keys (such as {next(iter(state))}) are of no known format; "
                "see docs/weights.md for those that are"
            )
            raise UserError(f"{path}: {why}")
        loading, report = matched
        self.last_report = report
        logger.log(logging.WARNING if report.notes else logging.INFO, "%s: %s", path, report.table())
        if report.origin != OWN:
            for key in self.checkpointables:
                checkpoint.pop(key, None)
        self._refuse_gaps(path, state, model, report)
        self.model.load_state_dict(loading, strict=False)

    def _refuse_gaps(
        self, path: str, state: Mapping[str, Tensor], model: Mapping[str, Tensor], report: LoadReport
    ) -> None:
        gaps = report.missing + (report.new if self._resuming or self._whole else [])
        if not gaps or self._allow_missing or (self._resuming and self.accept_changes):
            return
        if self._resuming:
            raise UserError(
                f"{path}: {len(gaps)} tensors of the model are not in it (such as {gaps[0]}); "
                "the config has changed since: resume with the old one or start anew"
            )
        if self._whole and report.new:
            raise UserError(f"{path}: {untrained(report, model)}")
        total = len(backbone_keys(model))
        have, some = total - len(report.missing), ", ".join(report.missing[:3])
        raise UserError(
            f"{path} ({report.origin}): only {have} of the backbone's {total} tensors can be loaded, "
            f"missing are {some} ...; {other_network(state, model) or hint(report)}"
        )


def not_finite(content: Any, place: str = "") -> str | None:
    """Return the place of the first tensor with a value that is NaN or infinite, or None."""
    if isinstance(content, Tensor):
        bad = content.is_floating_point() and not bool(torch.isfinite(content).all())
        return place if bad else None
    items: list[tuple[Any, Any]] = []
    if isinstance(content, Mapping):
        # A labeler's threshold of a class without labels is infinite.
        items = [(key, item) for key, item in content.items() if key != "labeler"]
    elif isinstance(content, list | tuple):
        items = list(enumerate(content))
    found = (not_finite(item, f"{place}.{key}" if place else str(key)) for key, item in items)
    return next((bad for bad in found if bad), None)


def _head(path: Path) -> dict[str, Any]:
    """The top-level plain values of a checkpoint; empty where it can't be read."""
    try:
        # Tensors stay on the disk.
        content = torch.load(path, map_location="cpu", weights_only=True, mmap=True)
    except Exception:  # reported when it is loaded
        return {}
    if not isinstance(content, dict):
        return {}
    return {key: value for key, value in content.items() if isinstance(value, int | str) or key == "data"}
