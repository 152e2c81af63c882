"""The toy dataset of a few seconds that this folder's training processes use."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from mestad_d2.data.toy.dataset import make_toy


@pytest.fixture(scope="session")
def toy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder for DETECTRON2_DATASETS."""
    root = tmp_path_factory.mktemp("datasets")
    make_toy(root / "toy", seed=0, videos=1, val_videos=1, seconds=4)
    return root


@pytest.fixture(scope="module")
def on_toy(toy: Path) -> Iterator[None]:
    """DETECTRON2_DATASETS names the toy; modules that override ``toy`` get theirs."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DETECTRON2_DATASETS", str(toy))
        yield
