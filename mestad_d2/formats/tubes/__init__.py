"""Action tubes in memory and in files."""
