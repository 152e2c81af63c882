"""Evaluation of action tubes beside published evaluators."""
