"""Download AVA and convert the annotations of other datasets."""
