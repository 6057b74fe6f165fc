"""The program that runs inside every sandbox: it starts commands, and takes the workspace's work out as a pack.

Standard library only, with the syntax of Python 3.7 and imports of nothing but itself, because it is handed as one file
(`codexteam.adapters.sandbox.program`) to whatever interpreter an image has, and started with `-I -S`. Its one argument
is a JSON object: `workspace`, `private` (a folder for its own git data), `base_git` (a read-only `.git` of the root
commit, or null), `alone` (nothing but commands started here lives in this PID namespace) and `output_cap_bytes`.

`loop` waits for events and takes requests from `host`, in frames over standard input and output (`protocol`).
`commands` starts processes and carries what they read and write (`running`, `output`); `killing` ends whole trees of
them (`processes`); `jobs` puts git's work in a child process. `workspace` reads and writes single files. The jobs are
those of `base_checkout` (with `archive` and `git_index`), before an agent's first command, of `snapshot` (with `adding`,
`ignored` and `branches`), after it, and of `layer`, for environments; all of them run git through `git`.

What must hold, against commands that run as the same user as this program:

- Its memory is closed to them (`PR_SET_DUMPABLE` 0), so what a command ended with is what this program saw. As process
  1 of a PID namespace it cannot be killed from inside.
- What outlives its parent becomes a child of this program (process 1, or `PR_SET_CHILD_SUBREAPER`): when a command ends
  or is cut off, everything that it started is found and killed, wherever it went.
- A file request never leaves the workspace: the real path is compared before, and what was really opened after.
- Work is taken out through a git folder, an index and a configuration of our own under `private`. Nothing that an agent
  does to the workspace's `.git` can keep its work in, and no git that it configured is run.
- Nothing in the loop waits: a stuck command, a job or a slow host holds up nobody else.
"""
