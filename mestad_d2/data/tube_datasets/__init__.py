"""UCF101-24, JHMDB and MultiSports: datasets whose labels are tubes."""
