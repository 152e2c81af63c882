"""What a model costs, counted without training it."""
