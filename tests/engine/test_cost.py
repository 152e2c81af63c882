"""The paper's models cost what they must when the head runs once (docs/fidelity: right column)."""

from __future__ import annotations

import pytest
from tiny import ROOT

from mestad_d2.engine.cost import cost_of_config
from mestad_d2.engine.setup import setup_cfg


@pytest.mark.parametrize(
    ("name", "size", "gflops"),
    [
        ("AVA-v2.2/SlowFast_R50_8x8", 256, 104.7),
        ("AVA-v2.2/SlowOnly_R50_4x16", 256, 49.1),
        pytest.param("AVA-v2.2/SlowFast_R50_8x8_320", 320, 163.6, marks=pytest.mark.slow),
        pytest.param("AVA-v2.2/SlowFast_R101-NL_8x8", 256, 154.5, marks=pytest.mark.slow),
        pytest.param("ablations/table8_res3-5_p3-5", 256, 105.9, marks=pytest.mark.slow),
        pytest.param("ablations/table8_res2-4_p2-5", 256, 126.8, marks=pytest.mark.slow),
    ],
)
def test_costs(name: str, size: int, gflops: float) -> None:
    cost = cost_of_config(setup_cfg(ROOT / "configs" / f"{name}.yaml"), size)
    assert cost["total_gflops"] == pytest.approx(gflops, rel=0.005)
    assert cost["total_gflops"] == pytest.approx(sum(cost["by_part"].values()), abs=0.01)


def test_parameters_of_slowfast() -> None:
    cfg = setup_cfg(ROOT / "configs" / "AVA-v2.2" / "SlowFast_R50_8x8.yaml")
    parts = cost_of_config(cfg, 64)["params_by_part"]
    assert parts["backbone"] == pytest.approx(33.64, abs=0.01)
    assert parts["fpn"] == pytest.approx(2.21, abs=0.01)
    assert parts["fcos_head"] == pytest.approx(4.74, abs=0.01)
