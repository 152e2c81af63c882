"""A dataset that several modules of this folder train on."""

from __future__ import annotations

from pathlib import Path

import pytest

from mestad_d2.data.toy.dataset import make_toy


@pytest.fixture(scope="session")
def toy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder for DETECTRON2_DATASETS, with a toy of a few seconds."""
    root = tmp_path_factory.mktemp("datasets")
    make_toy(root / "toy", seed=0, videos=2, val_videos=1, seconds=6)
    return root
