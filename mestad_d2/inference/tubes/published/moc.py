"""MOC's linker, which ends a tube at the first miss (K = 1), and mmaction2's copy of it."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from mestad_d2.formats.tubes.csv_files import TubeDataset
from mestad_d2.formats.tubes.records import Tubelets, Tubes
from mestad_d2.inference.tubes.published.build_tubes import BuildSettings, build_tubes

MOC = BuildSettings(nms=0.6, soft=True, link=0.5, least_score=0.005)
MMACTION2 = replace(MOC, link_pixels="continuous")


def link_moc(found: Tubelets, dataset: TubeDataset) -> Tubes:
    """Link tubelets as MOC does (ECCV 2020; MCG-NJU/MOC-Detector 45c3fd0)."""
    return build_tubes(found, dataset, MOC)


def link_mmaction2(found: Tubelets, dataset: TubeDataset) -> Tubes:
    """Link detections as mmaction2's link_tubes does, with its bug (open-mmlab/mmaction2 4d6c934).

    Every box gets the score of the last row of all detections, so that tubes are ranked arbitrarily.
    """
    last = found.score[-1] if len(found) else 0.0
    return build_tubes(replace(found, score=np.full(len(found), last)), dataset, MMACTION2)


def link_mmaction2_scorefix(found: Tubelets, dataset: TubeDataset) -> Tubes:
    """Link detections as mmaction2's link_tubes would with each row's own score (not official)."""
    return build_tubes(found, dataset, MMACTION2)
