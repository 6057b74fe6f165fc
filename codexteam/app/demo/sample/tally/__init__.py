"""Adds up amounts."""
