"""The bank is filled by passes over the training films, and anew over the films of an evaluation or a video."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
import torch
from detectron2.config import CfgNode
from engine.short_runs import run
from numbered_video import write_numbered_video
from tiny import EAGER, tiny_cfg

from mestad_d2.data.loaders import build_test_loader
from mestad_d2.engine import feature_bank
from mestad_d2.engine.trainer import MESTADTrainer
from mestad_d2.errors import UserError
from mestad_d2.inference.predictor import VideoPredictor
from mestad_d2.modeling.build import build_detector
from mestad_d2.video.frames import read_frames
from mestad_d2.video.stream import StreamFrame


def bank_cfg(*opts: object) -> CfgNode:
    """The toy config with the head that looks into a bank."""
    return tiny_cfg("MODEL.ROI_HEADS.NAME", "FeatureBankROIHeads", "MODEL.FEATURE_BANK.DIM", 8, *EAGER, *opts)


def same(one: object, other: object) -> bool:
    """Whether two banks hold the same."""
    a, b = one.to_arrays(), other.to_arrays()
    return all(np.array_equal(a[name], b[name]) for name in a)


def test_a_resumed_run_has_the_bank_of_its_checkpoint(
    toy: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DETECTRON2_DATASETS", str(toy))
    cfg = bank_cfg("OUTPUT_DIR", tmp_path / "a", "SOLVER.MAX_ITER", 6, "SOLVER.CHECKPOINT_PERIOD", 1,
                   "DATASETS.TEST", "()", "MODEL.FEATURE_BANK.START", 0.34, "MODEL.FEATURE_BANK.FILLS", 2)  # fmt: skip
    whole, losses = run(cfg)
    assert sorted(p.name for p in (tmp_path / "a" / "feature_bank").iterdir()) == [
        "0000002.npz",
        "0000004.npz",
    ]
    bank = whole.bare_model.roi_heads.bank
    clips = sum(len(batch) for batch in build_test_loader(cfg, "toy_train"))
    assert len(bank) == clips and bank.around("nobody", 1.0, 30.0) is None
    half = bank_cfg("OUTPUT_DIR", tmp_path / "b", "SOLVER.MAX_ITER", 6, "SOLVER.CHECKPOINT_PERIOD", 1,
                    "DATASETS.TEST", "()", "MODEL.FEATURE_BANK.START", 0.34, "MODEL.FEATURE_BANK.FILLS", 2)  # fmt: skip
    _, first = run(half, stop=4)
    resumed, rest = run(half, resume=True)
    assert [*first[:3], *rest][: len(losses)] == losses and same(resumed.bare_model.roi_heads.bank, bank)
    (tmp_path / "b" / "feature_bank" / "0000004.npz").unlink()
    with pytest.raises(UserError, match="feature bank of this checkpoint is gone"):
        run(half, resume=True)


def test_an_evaluation_looks_into_a_bank_of_its_own_films(
    toy: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DETECTRON2_DATASETS", str(toy))
    torch.manual_seed(0)
    cfg = bank_cfg("OUTPUT_DIR", tmp_path)
    model, banks = build_detector(cfg).eval(), []
    before, plain = model.roi_heads.bank, feature_bank.filled_bank
    monkeypatch.setattr(feature_bank, "filled_bank", lambda *args: banks.append(plain(*args)) or banks[-1])
    results = MESTADTrainer.test(cfg, model)
    frames = sum(len(batch) for batch in build_test_loader(cfg, "toy_val"))
    assert "frame_map" in results and len(banks[0]) == frames
    assert model.roi_heads.bank is before and len(before) == 0


def test_a_film_is_looked_at_twice(tmp_path: Path) -> None:
    torch.manual_seed(0)
    path = tmp_path / "v.mp4"
    write_numbered_video(path, 100, Fraction(25))
    cfg = bank_cfg()
    model = build_detector(cfg).eval()
    predictor = VideoPredictor(cfg, model)
    found = list(predictor.predict(str(path)))
    assert len(found) == 4 and not len(model.roi_heads.bank)
    with model.roi_heads.filling() as bank:
        without = list(
            predictor.predict_batch(batch) for batch in predictor._batches(str(path), [0.0, 1, 2, 3])
        )
    with model.roi_heads.looking_into(bank):
        wanted = [
            d
            for batch in predictor._batches(str(path), [0.0, 1, 2, 3])
            for d in predictor.predict_batch(batch)
        ]
    for one, other, bare in zip(found, wanted, sum(without, []), strict=True):
        # The tracker smooths actions over time; the first moment has nothing before it.
        assert one.timestamp == other.timestamp and np.allclose(one.boxes, other.boxes)
        assert np.abs(other.actions - bare.actions).max() > 1e-7
    np.testing.assert_allclose(found[0].actions, wanted[0].actions, rtol=1e-5)
    frames = [StreamFrame(0.0, read_frames(str(path), [0.0])[0])]
    with pytest.raises(UserError, match="looks ahead in the whole film"):
        list(predictor.predict(frames))
