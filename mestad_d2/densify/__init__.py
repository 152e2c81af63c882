"""From sparse labels to dense ones: who is where on the frames between key frames, and does what."""
