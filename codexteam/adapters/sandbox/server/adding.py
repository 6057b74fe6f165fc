"""Adds the workspace's files to the server's own index.

A file that git cannot store costs nothing but itself, a repository inside the workspace is taken as files, and whoever
asked is told of both.
"""

from __future__ import annotations

import json
import os
import re

from .files import read_file, read_some, write_file
from .protocol import RequestRefused

TYPE_CHECKING = False
if TYPE_CHECKING:
    from .git import Git
    from .protocol import Remarks

#: Git calls to find files that it cannot store, and repositories in each other that are looked at.
TRIES, MAX_NESTED = 600, 16
#: Stands for the files of a repository inside the workspace until git has seen them.
STAND_IN = b".codexteam-stand-in"


class Adding:
    """What git stores of the files as they are now."""

    def __init__(self, git: Git) -> None:
        self.git = git

    def add(self, *argv: str) -> Remarks:
        """Let git add files; give those that it cannot store, and why."""
        code, said = 0, ""
        nested: list[bytes] = []
        for _ in range(MAX_NESTED):
            code, said = self.git.try_git("add", "--ignore-errors", *argv)
            if not ("embedded git repository" in said or "does not have a commit checked out" in said):
                break
            found = self.open_nested()
            if not found:
                break
            nested += found
        remarks = self.nested_remarks(nested)
        for name in re.findall(r"could not open directory '(.+?)/?'", said):
            remarks.append((name + "/", "it cannot be read"))
        if code == 0:
            return remarks
        if "index file" in said and "corrupt" in said:
            raise RequestRefused("git", f"git add ended with {code}: {said.strip()[-2000:]}")
        listed = self.git.run("ls-files", "-z", "-m", "-o", "--exclude-standard").split(b"\0")[:-1]
        names = [name for name in dict.fromkeys(listed) if not name.endswith(b"/")]
        if not names:
            raise RequestRefused("git", f"git add ended with {code}: {said.strip()[-2000:]}")
        return remarks + self.add_apart(names)

    def add_apart(self, names: list[bytes]) -> Remarks:
        """Add what can be added of these files, by halves; one that git cannot store costs nothing but itself."""
        remarks: Remarks = []
        waiting = [names]
        tries = 0
        while waiting:
            part = waiting.pop()
            tries += 1
            if tries > TRIES:
                raise RequestRefused(
                    "value", f"git cannot store more than {len(remarks)} files: {remarks[0][0]} and others"
                )
            data = b"".join(name + b"\0" for name in part)
            code, said = self.git.try_git("update-index", "--add", "--remove", "--replace", "-z", "--stdin", data=data)
            if code == 0:
                continue
            if len(part) > 1:
                waiting += [part[len(part) // 2 :], part[: len(part) // 2]]
                continue
            lines = [line.partition(": ")[2] for line in said.splitlines() if line.startswith(("fatal: ", "error: "))]
            why = lines[0] if lines else f"git ends with {code}"
            remarks.append((os.fsdecode(part[0]), f"git cannot store it: {why}"))
        return remarks

    def open_nested(self) -> list[bytes]:
        """Have git take repositories inside of the workspace for what else is in them: files.

        Git goes into a folder of which its index knows a file, whatever repository is there.
        """
        added = self.git.run("ls-files", "-z", "-s").split(b"\0")
        links = {entry.split(b"\t", 1)[1] for entry in added if entry.startswith(b"160000 ")}
        listed = self.git.run("ls-files", "-z", "-o", "--exclude-standard").split(b"\0")
        found = sorted(links - self.submodules())
        gone = b"".join(b"0 %s\t%s\0" % (b"0" * 40, name) for name in found)
        found += [name[:-1] for name in listed if name.endswith(b"/")]
        empty = self.git.run("hash-object", "-w", "--stdin").strip()
        there = b"".join(b"100644 %s\t%s/%s\0" % (empty, name, STAND_IN) for name in found)
        self.git.run(
            "update-index", "--replace", "-z", "--index-info", data=gone.replace(b"0" * 40, b"0" * len(empty)) + there
        )
        return found

    def submodules(self) -> set[bytes]:
        """Return the submodules of the base: they stay what they are."""
        path = os.path.join(self.git.private, "base.json")
        tree = json.loads(read_file(path).decode())["tree"] if os.path.exists(path) else "HEAD"
        listed = self.git.look("ls-tree", "-r", "-z", tree) or b""
        return {entry.split(b"\t", 1)[1] for entry in listed.split(b"\0") if entry.startswith(b"160000 ")}

    def nested_remarks(self, fresh: list[bytes]) -> Remarks:
        """Say which repositories are taken as files: found now, or before."""
        path = os.path.join(self.git.private, "nested.json")
        known = json.loads(read_file(path).decode()) if os.path.exists(path) else []
        if fresh:
            known += [os.fsdecode(name) for name in fresh]
            write_file(path, json.dumps(known).encode())
        there = [name for name in known if os.path.lexists(os.path.join(self.git.workspace, name, ".git"))]
        return [(name + "/.git", "a repository of its own: its files are taken, its history is not") for name in there]

    def stored_raw(self, base: str, tree: str) -> Remarks:
        """Return new files that Git LFS should store: there is none here, so they are stored as they are."""
        if tree == self.git.base_tree(base):
            return []
        rules = self.git.run("ls-files", "-z", "--", ":(glob)**/.gitattributes").split(b"\0")[:-1]
        root = os.fsencode(self.git.workspace)
        if not any(b"filter=lfs" in read_some(os.path.join(root, name)) for name in rules):
            return []
        names = self.git.run("diff-tree", "-r", "-z", "--name-only", "--diff-filter=A", self.git.base_tree(base), tree)
        said = self.git.run("check-attr", "-z", "--stdin", "filter", data=names).split(b"\0")
        wanted = [said[at] for at in range(0, len(said) - 2, 3) if said[at + 2] == b"lfs"]
        pointer = b"version https://git-lfs"
        raw = [name for name in wanted if not read_some(os.path.join(root, name)).startswith(pointer)]
        why = "stored in git as it is: there is no Git LFS here, though .gitattributes asks for it"
        return [(os.fsdecode(name), why) for name in raw]
