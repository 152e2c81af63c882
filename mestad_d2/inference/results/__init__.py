"""Outputs of detections: pictures, videos, csv and json."""
