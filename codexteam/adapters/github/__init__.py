"""GitHub, as a pull request needs it."""
