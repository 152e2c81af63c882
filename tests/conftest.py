"""Property tests draw the same inputs in every run; `HYPOTHESIS_PROFILE=default` draws new ones."""

from __future__ import annotations

import os

from hypothesis import settings

settings.register_profile("seeded", derandomize=True)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "seeded"))
