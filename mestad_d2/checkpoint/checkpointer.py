"""The checkpointer that ``MODEL.WEIGHTS`` and resuming go through, on every version of detectron2."""

from __future__ import annotations

import logging
import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from detectron2.checkpoint import DetectionCheckpointer
from detectron2.config import CfgNode
from torch import Tensor, nn

from mestad_d2.checkpoint.load_advice import hint
from mestad_d2.checkpoint.match import OWN, backbone_keys, match
from mestad_d2.checkpoint.read import UnreadableCheckpoint, read_checkpoint
from mestad_d2.checkpoint.report import LoadReport
from mestad_d2.checkpoint.settings import model_settings
from mestad_d2.checkpoint.write import save_whole, write_text_whole
from mestad_d2.errors import UserError

logger = logging.getLogger(__name__)

# Where the formats keep their tensors: ours; pytorchvideo and PySlowFast; mmaction2; Caffe2.
WRAPPERS = ("model", "model_state", "state_dict", "blobs")
RESUMABLE = re.compile(r"model_(\d+|final)\.pth")


class MESTADCheckpointer(DetectionCheckpointer):
    """Loads weights of pytorchvideo, PySlowFast, Caffe2, mmaction2 and ours; saves whole files only.

    The format is recognised by content, never by the file's name. Nothing in a file is run. A model is
    changed only after the whole file is understood. ``last_report`` tells what the last load did.
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
        self._resuming = False
        self.last_report: LoadReport | None = None

    def load(self, path: str, *args: Any, **kwargs: Any) -> dict[str, Any]:
        """Load weights, and of our own checkpoints the training state.

        Raises:
            UserError: no such file, unreadable, unknown format, or too little in it for the backbone.
        """
        if path and "://" not in path and not os.path.isfile(path):
            raise UserError(f"MODEL.WEIGHTS: {path} is no file; give the path of a weights file, or none")
        try:
            return super().load(path, *args, **kwargs)
        except OSError as error:
            raise UserError(f"MODEL.WEIGHTS: {path} can't be fetched ({error}); fetch it yourself") from error
        finally:
            # Newer detectron2 keeps this set after an error and then refuses any further load.
            self._parsed_url_during_load = None

    def resume_or_load(self, path: str, *, resume: bool = True) -> dict[str, Any]:
        """Continue from the newest readable checkpoint of the folder, else load ``path`` without state.

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
        path = Path(self.save_dir) / f"{name}.pth"
        logger.info("saving checkpoint %s", path)
        save_whole({**data, **kwargs}, path)
        self.tag_last_checkpoint(path.name)

    def tag_last_checkpoint(self, last_filename_basename: str) -> None:
        """Name the newest checkpoint in the file ``last_checkpoint``."""
        write_text_whole(last_filename_basename, Path(self.save_dir) / "last_checkpoint")

    def _candidates(self) -> list[str]:
        """Checkpoints to resume from: the tagged one, then the others, newest first."""
        tagged = self.get_checkpoint_file()
        others = [path for path in Path(self.save_dir).iterdir() if RESUMABLE.fullmatch(path.name)]
        others.sort(key=lambda path: (path.stat().st_mtime_ns, path.name), reverse=True)
        paths = [tagged, *(str(path) for path in others)]
        return [path for path in dict.fromkeys(paths) if os.path.isfile(path)]

    def _load_file(self, filename: str) -> dict[str, Any]:
        content = read_checkpoint(filename)
        wrapper = next((key for key in WRAPPERS if isinstance(content.get(key), Mapping)), None)
        state = content[wrapper] if wrapper else content
        checkpoint = {"model": _tensors(state), "__path__": filename}
        if isinstance(content.get("cfg"), str):
            checkpoint["__config__"] = content["cfg"]
        if not checkpoint["model"]:
            raise UnreadableCheckpoint(
                f"{filename}: holds no weights (keys: {', '.join(map(str, content))[:80]})"
            )
        if wrapper == "model":
            # Training state is ours alone: "optimizer" of another library means something else.
            checkpoint.update({k: v for k, v in content.items() if k not in checkpoint})
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
            raise UserError(
                f"{path}: its keys (such as {next(iter(state))}) are of no known format; "
                "see docs/weights.md for those that are"
            )
        loading, report = matched
        self.last_report = report
        logger.log(logging.WARNING if report.notes else logging.INFO, "%s: %s", path, report.table())
        if report.origin != OWN:
            for key in self.checkpointables:
                checkpoint.pop(key, None)
        self._refuse_gaps(path, model, report)
        self.model.load_state_dict(loading, strict=False)

    def _refuse_gaps(self, path: str, model: Mapping[str, Tensor], report: LoadReport) -> None:
        gaps = report.missing + (report.new if self._resuming else [])
        if not gaps or self._allow_missing:
            return
        if self._resuming:
            raise UserError(
                f"{path}: {len(gaps)} tensors of the model are not in it (such as {gaps[0]}); "
                "the config has changed since: resume with the old one or start anew"
            )
        total = len(backbone_keys(model))
        have, some = total - len(report.missing), ", ".join(report.missing[:3])
        raise UserError(
            f"{path} ({report.origin}): only {have} of the backbone's {total} tensors can be loaded, "
            f"missing are {some} ...; {hint(report)}"
        )


def _tensors(state: Mapping[str, Any]) -> dict[str, Tensor]:
    """Tensors of a state dict, arrays converted, the prefix of distributed training taken off."""
    found = {}
    for key, value in state.items():
        if isinstance(value, np.ndarray):
            value = torch.from_numpy(value.astype(value.dtype.newbyteorder("="), copy=True))
        if isinstance(key, str) and isinstance(value, Tensor):
            found[key] = value
    if found and all(key.startswith("module.") for key in found):
        found = {key.removeprefix("module."): value for key, value in found.items()}
    return found
