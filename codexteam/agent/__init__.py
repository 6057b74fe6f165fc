"""One agent: its prompt, its tools, its turns, until it has answered."""
