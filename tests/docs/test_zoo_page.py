"""MODEL_ZOO.md lists every config with figures that are counted anew here."""

from __future__ import annotations

import re

import pytest
import torch
from tiny import ROOT

from mestad_d2 import model_zoo
from mestad_d2.analysis.cost import cost_of_config
from mestad_d2.analysis.memory import training_memory
from mestad_d2.modeling.build import build_detector

# Keys of losses and thresholds, which cost nothing; configs that differ in these alone are counted once.
FREE = re.compile(r"^\s*(\w*(THRESH|LOSS|FOCAL|POSITIVE)\w*|(TRAIN|TEST)_BOXES|WEIGHTS):")
ROW = re.compile(r"\| \[(?P<name>\S+)\]\(configs/(?P<path>\S+)\) \| (?P<cells>.+) \|")
ZOO = (ROOT / "MODEL_ZOO.md").read_text()


def rows() -> dict[str, list[str]]:
    """Config -> the paper's mAP and GFLOPs, our GFLOPs, parameters, memory, weights."""
    found = {}
    for line in ZOO.splitlines():
        if (row := ROW.fullmatch(line)) and not row["name"].startswith("published/"):
            assert row["path"] == row["name"] + ".yaml" and row["name"] not in found
            found[row["name"]] = row["cells"].split(" | ")
    return found


def test_every_config_is_listed_and_nothing_else() -> None:
    ours = {name for name in model_zoo.list() if not name.startswith("published/")}
    assert {name + ".yaml" for name in rows()} == ours
    assert all(len(cells) == 6 for cells in rows().values())


def test_every_published_detector_is_listed_with_its_file() -> None:
    listed = re.findall(r"^\| \[(published/\S+)\]\(configs/(\S+)\) \| .+ \| .*\S", ZOO, re.M)
    assert all(name + ".yaml" == path for name, path in listed)
    assert sorted(path for _, path in listed) == [n for n in model_zoo.list() if n.startswith("published/")]


@pytest.mark.parametrize("name", [name for name in rows() if rows()[name][0] != "-"])
def test_the_papers_figures_are_those_of_the_config(name: str) -> None:
    comment = (ROOT / "configs" / f"{name}.yaml").read_text().splitlines()[0]
    map_, gflops = re.search(r"([\d.]+) mAP(?:.*?, ([\d.]+) GFLOPs)?", comment).groups()
    assert map_ == rows()[name][0]
    assert gflops is None or gflops == rows()[name][1]


@pytest.fixture(scope="module")
def counts():
    """GFLOPs, parameters and memory of a config, counted once for all that describe the same model."""
    known: dict[str, tuple] = {}

    def count(name: str) -> tuple[float | None, float, float]:
        cfg = model_zoo.get_config(name)
        size = cfg.INPUT.MIN_SIZE_TEST
        clips = (cfg.SEMISUP.ENABLED, cfg.SEMISUP.ENABLED and cfg.SEMISUP.PSEUDO_LABELER == "EMA")
        model = [line for line in cfg.MODEL.dump().splitlines() if not FREE.search(line)]
        key = repr((model, cfg.INPUT.CLIP, cfg.INPUT.CROP, size, clips, cfg.SOLVER.OPTIMIZER, cfg.SOLVER.AMP))
        if key not in known:
            cost = cost_of_config(cfg, size) if rows()[name][2] != "-" else None
            cfg.MODEL.DEVICE = "meta"
            with torch.device("meta"):
                parameters = sum(p.numel() for p in build_detector(cfg).parameters()) / 1e6
            known[key] = (cost and cost["total_gflops"], parameters, training_memory(cfg, 6)["total"])
        return known[key]

    return count


@pytest.mark.parametrize("name", rows())
def test_figures_counted_anew(name: str, counts) -> None:
    _, _, gflops, parameters, memory, _ = rows()[name]
    counted = counts(name)
    assert (gflops == "-") == (counted[0] is None)
    if gflops != "-":
        assert float(gflops) == pytest.approx(counted[0], abs=0.051)
    assert float(parameters) == pytest.approx(counted[1], abs=0.051)
    # Versions of torch differ a little in what they keep.
    assert float(memory) == pytest.approx(counted[2], rel=0.02, abs=0.06)
