"""The code on the pages runs: the action head of docs/extend.md is trained, the README's quick start detects."""

from __future__ import annotations

import json
import re
import sys
from fractions import Fraction
from pathlib import Path

import pytest
import torch
from detectron2.modeling import build_model
from numbered_video import write_numbered_video
from tiny import EAGER, ROOT, SMALLER, fake_input

from mestad_d2.errors import UserError
from mestad_d2.load_config import import_extensions, setup_cfg

# A detector without trained weights is an error unless it is asked for.
RANDOM = ["MODEL.WEIGHTS_ALLOW_MISSING", "True"]


def block(page: str, title: str) -> str:
    """The page's code block whose first line is ``title``."""
    text = (ROOT / page).read_text()
    return re.search(rf"^```{re.escape(title)}\n(.*?)^```", text, flags=re.S | re.M)[1]


@pytest.fixture
def my_head(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    Path("my_head.py").write_text(block("docs/extend.md", "python my_head.py"))
    yaml = block("docs/extend.md", "yaml my_head.yaml").replace("configs/", f"{ROOT}/configs/")
    Path("my_head.yaml").write_text(yaml)
    return tmp_path


def test_the_head_of_the_page_learns(my_head: Path) -> None:
    assert len(block("docs/extend.md", "python my_head.py").splitlines()) <= 32
    import_extensions(["my_head.py"])
    import_extensions(["my_head.py"])  # a second time changes nothing
    model = build_model(setup_cfg("my_head.yaml", SMALLER))
    assert type(model.roi_heads.predictor).__name__ == "TwoLayerActionHead"
    losses = model([fake_input([[5, 5, 30, 60]]), fake_input([[20, 8, 50, 60]], seed=1)])
    sum(losses.values()).backward()
    assert torch.isfinite(losses["loss_action"])
    assert model.roi_heads.predictor.hidden.weight.grad.abs().sum() > 0


def test_what_cannot_be_imported_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("broken_part.py").write_text("import no_such_module\n")
    for name in ("broken_part.py", "absent_part.py", "no_such_module"):
        with pytest.raises(UserError, match=f"--import {name}: ") as error:
            import_extensions([name])
        assert "\n" not in str(error.value)
    assert "broken_part" not in sys.modules


def test_the_quick_start_of_the_readme_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    write_numbered_video(tmp_path / "film.mp4", 30, Fraction(25))
    code = block("README.md", "python quick start")
    # Untrained, and with a threshold at which somebody is found.
    code = code.replace(
        '"output/demo/run/model_final.pth"', f'""; cfg.merge_from_list({[*EAGER, *RANDOM]!r})'
    )
    exec(code.replace("output/demo/detections.mp4", "film.mp4"), {})
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 9 and re.fullmatch(r"0\.0 s  actor \d+  \[.*\]  .+ [01]\.\d\d", lines[0])


def test_the_notebook_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    notebook = json.loads((ROOT / "examples" / "quick_start.ipynb").read_text())
    monkeypatch.chdir(tmp_path)
    cells = ["".join(cell["source"]) for cell in notebook["cells"] if cell["cell_type"] == "code"]
    space: dict = {}
    for code in cells:
        exec(compile(code, "quick_start.ipynb", "exec"), space)
    assert Path("film.mp4").stat().st_size > 1000 and space["picture"].size[0] > 100
