"""MODEL_ZOO.md lists every config with figures that are counted anew here."""

from __future__ import annotations

import re

import pytest
from tiny import ROOT

from mestad_d2 import model_zoo
from mestad_d2.analysis.cost import cost_of_config
from mestad_d2.analysis.memory import training_memory

ROW = re.compile(r"\| \[(?P<name>\S+)\]\(configs/(?P<path>\S+)\) \| (?P<cells>.+) \|")
ZOO = (ROOT / "MODEL_ZOO.md").read_text()
FAST = ("AVA-v2.2/SlowOnly_R50_4x16", "toy/SlowOnly_tiny", "ucf24/SlowOnly_tiny_TLA")


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


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=() if name in FAST else pytest.mark.slow) for name in rows()]
)
def test_figures_counted_anew(name: str) -> None:
    _, _, gflops, parameters, memory, _ = rows()[name]
    cfg = model_zoo.get_config(name)
    if gflops == "-":
        model = model_zoo.get(name, device="cpu")
        counted = sum(p.numel() for p in model.parameters()) / 1e6
    else:
        cost = cost_of_config(cfg, cfg.INPUT.MIN_SIZE_TEST)
        assert float(gflops) == pytest.approx(cost["total_gflops"], abs=0.051)
        counted = cost["params_millions"]
    assert float(parameters) == pytest.approx(counted, abs=0.051)
    # Versions of torch differ a little in what they keep.
    assert float(memory) == pytest.approx(training_memory(cfg, 6)["total"], rel=0.02, abs=0.06)
