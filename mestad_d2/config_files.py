"""Read config files and their local ``_BASE_`` files as plain mappings, with keys of older versions renamed."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import yaml
from detectron2.config import CfgNode

from mestad_d2.errors import UserError

logger = logging.getLogger(__name__)

# Thresholds for all proposal generators used to be in MODEL.FCOS; both names are read.
PROPOSAL_KEYS = (
    "SCORE_THRESH_TRAIN",
    "SCORE_THRESH_TEST",
    "NMS_THRESH_TRAIN",
    "NMS_THRESH_TEST",
    "PRE_NMS_TOPK",
    "POST_NMS_TOPK_TRAIN",
    "POST_NMS_TOPK_TEST",
)
RENAMED = {f"MODEL.FCOS.{key}": f"MODEL.PROPOSALS.{key}" for key in PROPOSAL_KEYS}
_said: set[str] = set()


def read_chain(path: str | Path, _below: tuple[Path, ...] = ()) -> list[tuple[Path, dict[str, Any]]]:
    """Read a config file and its ``_BASE_`` files, the outermost base first.

    Raises:
        UserError: a file is missing, no yaml mapping, names a base that is not a local file, or itself.
    """
    path = Path(path)
    named_by = f"{_below[-1]}: _BASE_: " if _below else ""
    if os.path.isfile(path) and path.resolve() in _below:
        raise UserError(f"{named_by}{path} is based on itself; name another file")
    # A path that is too long is an error of the system itself.
    if not os.path.isfile(path):
        raise UserError(f"{named_by}{path}: no such config file; see the folder configs/")
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, RecursionError, ValueError, yaml.YAMLError) as error:
        raise UserError(f"{path}: no readable yaml: {' '.join(str(error).split())[:300]}") from error
    if not isinstance(content, dict):
        kind = "empty" if content is None else f"a {type(content).__name__}"
        raise UserError(f"{path}: expected a yaml mapping of config keys, found it {kind}; write KEY: value")
    bases = content.pop("_BASE_", [])
    chain = []
    for base in bases if isinstance(bases, list) else [bases]:
        chain += read_chain(_base_path(path, base), (*_below, path.resolve()))
    return [*chain, (path, content)]


def _base_path(path: Path, base: Any) -> Path:
    if not isinstance(base, str) or "://" in base:
        raise UserError(f"{path}: _BASE_: {base!r} is no local file; download it and give its path")
    return path.parent / Path(base).expanduser()


def check_nesting(cfg: CfgNode, path: Path, content: dict[str, Any], prefix: str = "") -> None:
    """Check that a config node is a mapping in the file too.

    Raises:
        UserError: a plain value or nothing is there instead.
    """
    for key, value in content.items():
        if isinstance(cfg.get(key), CfgNode):
            if not isinstance(value, dict):
                found = "nothing" if value is None else repr(value)
                raise UserError(
                    f"{path}: {prefix}{key}: expected keys below it, found {found}; remove the line"
                )
            check_nesting(cfg[key], path, value, f"{prefix}{key}.")


def leaves(content: dict[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Return (key with dots, value) of all values of nested mappings."""
    for key, value in content.items():
        if isinstance(value, dict):
            yield from leaves(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value


def use_new_names_of_files(cfg: CfgNode, chain: Sequence[tuple[Path, dict[str, Any]]]) -> None:
    """Move values under renamed keys after a merge; a file wins over its base.

    Raises:
        UserError: one file sets both names, to different values.
    """
    latest: dict[str, Any] = {}
    for path, content in chain:
        # The config dumped by a run contains the old names too, empty.
        values = {key: value for key, value in leaves(content) if value is not None}
        for old, new in RENAMED.items():
            if old in values and values.get(new, values[old]) != values[old]:
                raise UserError(f"{path}: sets {old} and {new}, the name of the same key; remove {old}")
            if new in values or old in values:
                latest[old] = values.get(new, values.get(old))
    node = cfg.MODEL.FCOS
    for old, value in latest.items():
        leaf = old.rpartition(".")[2]
        if node[leaf] is not None:
            node[leaf] = value
    use_new_names(cfg)


def use_new_names_of_options(options: Sequence[str]) -> list[str]:
    """Return ``KEY VALUE`` pairs under the new names."""
    for key in options[::2]:
        if key in RENAMED:
            _say(key)
    return [RENAMED.get(text, text) if place % 2 == 0 else text for place, text in enumerate(options)]


def use_new_names(cfg: CfgNode) -> None:
    """Move values of renamed keys to the new names, in place; warn once per process."""
    for key in PROPOSAL_KEYS:
        value = cfg.MODEL.FCOS.get(key)
        if value is not None:
            try:
                cfg.MODEL.PROPOSALS[key] = type(cfg.MODEL.PROPOSALS[key])(value)
            except (TypeError, ValueError):
                raise UserError(f"MODEL.FCOS.{key}: {value!r} is no number; give one") from None
            cfg.MODEL.FCOS[key] = None
            _say(f"MODEL.FCOS.{key}")


def _say(old: str) -> None:
    if not _said:
        logger.warning("%s is now called %s; the old name still works", old, RENAMED[old])
    _said.add(old)
