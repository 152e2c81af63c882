"""From detections of single frames to action tubes: linkers, one a file, by name."""
