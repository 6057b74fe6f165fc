"""The patch format as a Lark grammar, for providers that take free text held to one."""

#: Stricter than what is accepted: a model that is held to a grammar has no need of tolerance.
GRAMMAR = r"""start: opening file+ closing
opening: "*** Begin Patch" NEWLINE
closing: "*** End Patch" NEWLINE?

file: added | deleted | updated
added: "*** Add File: " PATH NEWLINE ("+" TEXT NEWLINE)+
deleted: "*** Delete File: " PATH NEWLINE
updated: "*** Update File: " PATH NEWLINE moved? chunk+
moved: "*** Move to: " PATH NEWLINE

chunk: anchor+ line+ ending? | line+ ending?
anchor: "@@" NEWLINE | "@@ " PATH NEWLINE
line: ("+" | "-" | " ") TEXT NEWLINE
ending: "*** End of File" NEWLINE

PATH: /[^\n]+/
TEXT: /[^\n]*/
NEWLINE: "\n"
"""
