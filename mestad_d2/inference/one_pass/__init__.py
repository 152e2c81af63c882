"""Detections of many key frames from one run of the backbone over a long segment of film."""
