"""Detect many videos with workers that may die."""
