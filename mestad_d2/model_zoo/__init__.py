"""The configs of this project by name, in detectron2's manner."""

from mestad_d2.model_zoo.model_zoo import get, get_config, get_config_file
from mestad_d2.model_zoo.model_zoo import list_configs as list

__all__ = ["get", "get_config", "get_config_file", "list"]
