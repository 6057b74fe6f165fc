"""The store over SQLite: one file for each repository."""
