"""The patch format that Codex's models speak: text to hunks, hunks to file writes. Pure functions.

Acceptance, messages and bytes are those of Codex 0.169's own `apply_patch`; a differential test holds them to it.
"""
