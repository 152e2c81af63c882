"""Labels of other annotation tools, read as they export them."""
