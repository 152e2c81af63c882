"""Densify sparse labels: boxes and actions on the frames between key frames."""
