"""Runs in a pipeline: what the system that runs it says of itself, and what one of its jobs leaves to the next."""
