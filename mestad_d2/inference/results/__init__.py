"""What becomes of detections: pictures, videos, csv and json."""
