"""codexteam: a team of AI coding agents that turns one goal into merged, tested commits."""

__version__ = "0.1.0"
