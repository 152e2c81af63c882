"""Measure dense labels against dense truth or the annotators' key frames."""
