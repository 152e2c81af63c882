"""Linkers by name."""

from __future__ import annotations

from collections.abc import Callable

from mestad_d2.errors import UserError
from mestad_d2.formats.tubes.csv_files import TubeDataset
from mestad_d2.formats.tubes.records import FrameBoxes, Tubelets, Tubes, as_tubelets
from mestad_d2.inference.tubes.ours import link_ours
from mestad_d2.inference.tubes.published.build_tubes import (
    link_act,
    link_mmaction2,
    link_mmaction2_scorefix,
    link_moc,
)
from mestad_d2.inference.tubes.published.gurkirt import link_gurkirt
from mestad_d2.inference.tubes.published.yowov2 import link_yowov2

LINKERS: dict[str, Callable[[Tubelets, TubeDataset], Tubes]] = {
    "ours": link_ours,
    "act": link_act,
    "moc": link_moc,
    "mmaction2": link_mmaction2,
    "mmaction2_scorefix": link_mmaction2_scorefix,
    "yowov2": link_yowov2,
    "gurkirt": link_gurkirt,
}
# They take tubelets of any length; the others only boxes of single frames.
OF_TUBELETS = frozenset({"act", "moc"})
ALIASES = {
    "act_k1": "act",
    "act_k6": "act",
    "moc_k1": "moc",
    "moc_k7": "moc",
    "gurkirt_alpha3": "gurkirt",
    "gurkirt_alpha5": "gurkirt",
}


def check_linker(name: str) -> str:
    """Return the known name of a linker.

    Raises:
        UserError: no linker has the name.
    """
    known = ALIASES.get(name, name)
    if known not in LINKERS:
        raise UserError(f"linker {name!r} is unknown; choose one of {', '.join(LINKERS)}")
    return known


def link(found: FrameBoxes | Tubelets, dataset: TubeDataset, name: str) -> Tubes:
    """Link detections of whole videos into tubes.

    Args:
        name: of the linker.

    Raises:
        UserError: no linker has the name, it can't link tubelets, or a class is unknown.
    """
    known = check_linker(name)
    if isinstance(found, Tubelets) and found.boxes.shape[1] > 1 and known not in OF_TUBELETS:
        raise UserError(
            f"linker {name} links boxes of single frames, not tubelets of {found.boxes.shape[1]} frames; choose one "
            f"of {', '.join(sorted(OF_TUBELETS))}"
        )
    if len(found) and int(found.label.max()) >= len(dataset.classes):
        raise UserError(
            f"detections: class {int(found.label.max())} where the dataset has {len(dataset.classes)} classes"
        )
    return LINKERS[known](as_tubelets(found) if isinstance(found, FrameBoxes) else found, dataset)
