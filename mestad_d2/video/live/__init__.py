"""Streams from the network, read as they come."""
