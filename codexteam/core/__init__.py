"""Every decision, and nothing else: no IO, no clock, no randomness, no environment; those are arguments."""
