"""Evaluators by name, for ``TEST.EVALUATORS``."""

from __future__ import annotations

from detectron2.utils.registry import Registry

EVALUATOR_REGISTRY = Registry("EVALUATOR")
EVALUATOR_REGISTRY.__doc__ = """
Evaluators of a dataset: called with ``(dataset_name, cfg, output_dir)``, they return detectron2's
``DatasetEvaluator``. A class of one's own is registered with ``@EVALUATOR_REGISTRY.register()``.
"""
