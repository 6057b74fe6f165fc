"""The terminal over rich: the live view, plain lines, the last screen. All foreign text is escaped here."""
