"""The review page: the least confident stretches first."""
