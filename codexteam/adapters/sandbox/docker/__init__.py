"""Sandboxes on Docker engines: near or far, one or several."""
