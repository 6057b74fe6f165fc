"""Scanning source code for weaknesses: ruff and ast-grep, as programs of our own installation."""
