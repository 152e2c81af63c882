"""The linkers of published projects, by their own conventions."""
