"""The patch format as a Lark grammar, for providers that take free text held to one."""

#: Stricter than what is accepted: a model that is held to a grammar has no need of tolerance.
GRAMMAR = r"""start: opening file+ closing
opening: "*** Begin Patch" NEWLINE
closing: "*** End Patch" NEWLINE?

file: added | deleted | updated
added: "*** Add File: " NAME NEWLINE ADDED_LINE+
deleted: "*** Delete File: " NAME NEWLINE
updated: "*** Update File: " NAME NEWLINE moved? first_chunk chunk*
moved: "*** Move to: " NAME NEWLINE

first_chunk: ANCHOR? LINE+ end_of_file?
chunk: ANCHOR LINE+ end_of_file?
end_of_file: "*** End of File" NEWLINE

NAME: /[^\n]+/
ANCHOR: /@@( [^\n]+)?\n/
ADDED_LINE: /\+[^\n]*\n/
LINE: /[-+ ][^\n]*\n/
NEWLINE: /\n/
"""
