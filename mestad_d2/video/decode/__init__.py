"""Opening media files and what their packets and frames say: streams, time stamps, colours."""
