"""Configs and models by the name of a file below ``configs/``, such as ``AVA-v2.2/SlowFast_R50_8x8``."""

from __future__ import annotations

from difflib import get_close_matches
from pathlib import Path

from detectron2.config import CfgNode
from torch import nn

from mestad_d2.errors import UserError
from mestad_d2.load_config import setup_cfg
from mestad_d2.modeling.build import build_detector

# An installed package carries the configs inside (setup.py); a checkout has them beside the package.
_INSTALLED = Path(__file__).parent / "configs"
_CHECKOUT = Path(__file__).parents[2] / "configs"


def _root() -> Path:
    return _INSTALLED if _INSTALLED.is_dir() else _CHECKOUT


def list_configs() -> list[str]:
    """Return the names of all configs that describe a model, sorted; with ``.yaml``."""
    root = _root()
    paths = [path for path in root.rglob("*.yaml") if not path.name.startswith("Base")]
    return sorted(path.relative_to(root).as_posix() for path in paths)


def get_config_file(name: str) -> str:
    """Return the path of a config file.

    Args:
        name: path below ``configs/``, with or without ``.yaml``.

    Raises:
        UserError: there is no such config; the line names those that come near.
    """
    wanted = name if name.endswith(".yaml") else name + ".yaml"
    known = list_configs()
    if wanted not in known:
        raise UserError(f"model zoo: there is no config {name!r}; {_advice(wanted, known)}")
    return str(_root() / wanted)


def _advice(wanted: str, known: list[str]) -> str:
    # Without the ending, which all names share.
    by_lower = {candidate.lower().removesuffix(".yaml"): candidate for candidate in known}
    # A name without folder is matched with the file name.
    by_lower |= {Path(candidate).stem.lower(): candidate for candidate in reversed(known)}
    near = [
        by_lower[match] for match in get_close_matches(wanted.lower().removesuffix(".yaml"), by_lower, n=6)
    ]
    if near:
        return f"near it are {', '.join(list(dict.fromkeys(near))[:3])}"
    return "mestad_d2.model_zoo.list() names all"


def get_config(name: str, trained: bool = False) -> CfgNode:
    """Return the config, not frozen; ``MODEL.DEVICE`` is the CPU where there is no GPU.

    Args:
        name: see ``get_config_file``.
        trained: with weights trained on the config's dataset, of which none are published.

    Raises:
        UserError: no such config, or ``trained``.
    """
    path = get_config_file(name)
    if trained:
        raise UserError(
            f"model zoo: no trained weights of {name} are published; train it and set MODEL.WEIGHTS "
            "(docs/weights.md names Kinetics weights to start from)"
        )
    return setup_cfg(path, freeze=False)


def get(name: str, trained: bool = False, device: str | None = None) -> nn.Module:
    """Build the model of a config, initialised and on its device.

    Args:
        name: see ``get_config``.
        trained: see ``get_config``.
        device: such as "cpu"; default: ``MODEL.DEVICE``.

    Raises:
        UserError: as ``get_config``.
    """
    cfg = get_config(name, trained)
    if device is not None:
        cfg.MODEL.DEVICE = device
    return build_detector(cfg)
