"""ACT's linker: bridges up to four missing start frames; with K = 1 such frames stay holes (NaN)."""

from __future__ import annotations

from mestad_d2.formats.tubes.csv_files import TubeDataset
from mestad_d2.formats.tubes.records import Tubelets, Tubes
from mestad_d2.inference.tubes.published.build_tubes import BuildSettings, build_tubes

ACT = BuildSettings(nms=0.3, soft=False, link=0.2, least_score=0.01, patience=5)


def link_act(found: Tubelets, dataset: TubeDataset) -> Tubes:
    """Link tubelets as ACT does (ICCV 2017; vkalogeiton/caffe act-detector a431461)."""
    return build_tubes(found, dataset, ACT)
