"""The stored map of a repository's code: what is defined where, and which words stand there."""
