"""Dense labels in the formats of annotation tools."""
