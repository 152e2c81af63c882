"""End-to-end spatio-temporal action detection (ME-STAD) on Detectron2.

Importing the package registers its datasets and model parts by name, as a config refers to them.
"""

from mestad_d2 import data, modeling, semisup  # noqa: F401  (imported for what they register)
from mestad_d2.config import add_mestad_config

__all__ = ["add_mestad_config"]
