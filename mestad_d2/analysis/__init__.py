"""Compute cost and memory of a model without training it."""
