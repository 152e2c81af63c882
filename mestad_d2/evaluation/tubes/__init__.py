"""Video-mAP and frame-mAP of action tubes, under every published protocol by name."""
