"""Configuration: files, environment and flags become frozen settings, each value with its origin."""
