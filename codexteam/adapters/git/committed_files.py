"""The files of a repository's commits, read where they are: for what looks at the code and needs no run."""

import asyncio
from collections.abc import Mapping, Sequence
from pathlib import Path

from codexteam.adapters.git.location import git_runner
from codexteam.adapters.git.objects import ObjectReader
from codexteam.adapters.git.runner import GitCall, GitDeadline
from codexteam.core.ids import CommitId
from codexteam.core.text import clean_line
from codexteam.errors import UsageError

_READ_SECONDS = 300.0


class CommittedFiles:
    """Lists and reads files by commit; a `CodeSource`. Closed by who made it."""

    def __init__(self, git_dir: Path, environment: Mapping[str, str]) -> None:
        """Take whose commits.

        Raises:
            RepoError: there is no git, or it is too old.
        """
        self._git_dir = git_dir
        self._runner = git_runner(environment, git_dir)
        self._reader = ObjectReader(self._runner, git_dir)

    def find(self, revision: str) -> CommitId:
        """Return the commit that a revision names.

        Raises:
            UsageError: it names none.
        """
        words = ("rev-parse", "--verify", "--quiet", "--end-of-options", f"{revision}^{{commit}}")
        result = self._runner.run(GitCall(words, self._git_dir))
        if not result.ok:
            raise UsageError(f"{clean_line(revision)!r} names no commit", hint="Give a branch, a tag or a commit.")
        return CommitId(result.out.decode().strip())

    async def list_files(self, commit: CommitId) -> tuple[tuple[bytes, str, str], ...]:
        """Return (path, mode, blob id) of every file at a commit."""
        call = GitCall(("ls-tree", "-r", "-z", "--full-tree", "--end-of-options", commit), self._git_dir)
        listing = await asyncio.to_thread(self._runner.check, call, "the files of a commit")
        files = []
        for line in listing.split(b"\0")[:-1]:
            head, _, path = line.partition(b"\t")
            mode, _, object_id = head.decode().split(" ")
            files.append((path, mode, object_id))
        return tuple(files)

    async def read_blobs(self, blobs: Sequence[str], *, limit_bytes: int) -> list[bytes | None]:
        """Return the bytes of blobs by their ids, in order; None for one that is larger than the limit, or not there."""

        def work() -> list[bytes | None]:
            deadline = GitDeadline.after(_READ_SECONDS)
            found = self._reader.read_many(blobs, limit_bytes=limit_bytes, deadline=deadline)
            return [each.data if each is not None else None for each in found]

        return await asyncio.to_thread(work)

    def close(self) -> None:
        """End the process that reads; may be repeated."""
        self._reader.close()
