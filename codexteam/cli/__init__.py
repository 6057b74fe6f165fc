"""The terminal: commands, the live view, the one error boundary. Imports lazily."""
