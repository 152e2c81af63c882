"""Where the tests find real labelled clips and evaluator cases; they skip without them."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

ROOT = Path(os.environ.get("MESTAD_SHARED_DATA", Path(__file__).resolve().parents[2] / "shared" / "data"))


def shared_data(*parts: str) -> Path:
    """Path below the shared data folder; skips the calling test where it is absent."""
    path = ROOT.joinpath(*parts)
    if not path.exists():
        pytest.skip(f"no {'/'.join(parts)} in MESTAD_SHARED_DATA ({ROOT.name} folder absent)")
    return path
