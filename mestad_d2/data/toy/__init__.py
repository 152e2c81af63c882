"""The toy dataset: rendered videos with AVA labels, for the demo and the tests (docs/toy.md)."""
