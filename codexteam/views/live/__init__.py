"""The live view of a run: what it shows, the keys it knows, and the terminal it draws on.

`state` (what a key does) and `board`, `story` (what is drawn) are pure; `viewer` joins them with a terminal, facts and
requests.
"""
