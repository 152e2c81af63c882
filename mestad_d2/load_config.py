"""Build a frozen config from a yaml file and command-line options."""

from __future__ import annotations

import importlib
import importlib.util
import os
import sys
from collections.abc import Sequence
from pathlib import Path

import torch
import yaml
from detectron2.config import CfgNode, get_cfg

from mestad_d2 import add_mestad_config
from mestad_d2.config_files import check_nesting, read_chain, use_new_names_of_files, use_new_names_of_options
from mestad_d2.config_keys import check_keys
from mestad_d2.config_values import check_values
from mestad_d2.data.catalog import register_custom
from mestad_d2.errors import UserError

# Errors that yacs and detectron2 raise for wrong keys and values.
MISFITS = (KeyError, ValueError, AssertionError, TypeError, AttributeError, yaml.YAMLError)


def setup_cfg(config_file: str | Path, opts: Sequence[str] = (), *, freeze: bool = True) -> CfgNode:
    """Read a config file and its ``_BASE_`` chain, then ``KEY VALUE`` pairs, without unsafe yaml tags.

    ``MODEL.DEVICE`` falls back to the CPU where there is no GPU. Datasets of ``DATASETS.CUSTOM`` are
    registered. Values are checked, and values of keys that nothing reads are refused.

    Raises:
        UserError: the file is missing or no yaml, or a key or value does not fit.
    """
    cfg = get_cfg()
    add_mestad_config(cfg)
    # detectron2's default is "cuda"; machines without a GPU should work without an option.
    if not torch.cuda.is_available():
        cfg.MODEL.DEVICE = "cpu"
    chain = read_chain(config_file)
    for path, content in chain:
        check_nesting(cfg, path, content)
    try:
        cfg.merge_from_file(str(config_file), allow_unsafe=False)
    except MISFITS as error:
        raise UserError(f"{config_file}: {' '.join(str(error).split())}") from error
    use_new_names_of_files(cfg, chain)
    try:
        cfg.merge_from_list(use_new_names_of_options(list(opts)))
    except MISFITS as error:
        raise UserError(f"option: {' '.join(str(error).split())}; options are KEY VALUE pairs") from error
    check_values(cfg)
    check_keys(cfg)
    register_custom(cfg)
    if freeze:
        cfg.freeze()
    return cfg


def make_deterministic(cfg: CfgNode) -> None:
    """Apply ``SOLVER.DETERMINISTIC``: use reproducible kernels, and warn where there are none."""
    if cfg.SOLVER.DETERMINISTIC:
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
        torch.backends.cudnn.benchmark = False
        torch.use_deterministic_algorithms(True, warn_only=True)


def import_extensions(names: Sequence[str]) -> None:
    """Import a user's own code, so that the parts which it registers can be named in a config.

    Args:
        names: python files, or modules on the path.

    Raises:
        UserError: one of them is missing or fails.
    """
    for name in names:
        try:
            if not name.endswith(".py"):
                importlib.import_module(name)
                continue
            path = Path(name).resolve()
            if path.stem in sys.modules:
                continue
            spec = importlib.util.spec_from_file_location(path.stem, path)
            module = importlib.util.module_from_spec(spec)
            # Worker processes find classes of the file by this name.
            sys.modules[path.stem] = module
            spec.loader.exec_module(module)
        # It is the user's code: any exception becomes a one-line error.
        except Exception as error:
            sys.modules.pop(Path(name).stem, None)
            reason = " ".join(str(error).split()) or type(error).__name__
            raise UserError(f"--import {name}: {type(error).__name__}: {reason}") from error
