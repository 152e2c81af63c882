"""Videos, folders of frames and lists of frames: reading clips and streams. No labels are known here."""
