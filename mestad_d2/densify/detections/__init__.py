"""The teacher's detections on the frames between key frames, cached on disk."""
