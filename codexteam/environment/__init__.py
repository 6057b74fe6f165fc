"""What it takes to make a repository's own tests run: read from its files, as data; nothing here runs anything."""
