"""What git ignores: taken where the task's paths name it or the agent added it by force, else left out and said.

What an environment put there is nobody's work as long as nobody writes to it.
"""

from __future__ import annotations

import json
import os
import stat
import subprocess

from .files import listing, read_file
from .git import CACHES, EXTRAS, LOOKED_AT

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

    from .adding import Adding
    from .git import Git
    from .layer import LaidLayer
    from .protocol import Json, Remarks

#: Left out of a folder that is taken although git ignores it, unless it is named itself.
PRODUCTS = ("__pycache__", "*.pyc", ".pytest_cache", ".mypy_cache", ".ruff_cache", ".hypothesis", "node_modules")


class Ignored:
    """The ignored files of a workspace, for one snapshot."""

    def __init__(self, git: Git, adding: Adding, layer: LaidLayer) -> None:
        self.git = git
        self.adding = adding
        self.layer = layer
        self.copied: Json | None = None

    def add_named(self, named: list[Json]) -> Remarks:
        """Add what the task's paths name, also where git ignores it.

        A file or folder that is named itself is wanted; of a pattern that is so only below an ignored folder that it
        names, or in the one folder that it names.
        """
        remarks: Remarks = []
        if not named:
            return remarks
        tops = [os.fsencode(place["prefix"]) for place in named if place["prefix"]]
        ignored = set(self.matched(tops))
        ours = self.copied_in()
        for place in named:
            prefix, pattern = place["prefix"], place["pattern"]
            top = os.path.join(self.git.workspace, prefix)
            below = os.fsencode(prefix) in ignored and os.path.isdir(top)
            single = os.path.lexists(top) and not os.path.isdir(top)
            if not pattern and (single or below):
                specs = [":(literal)" + prefix]
            elif pattern and below:
                specs = [f":(glob){prefix}/{pattern}", f":(glob){prefix}/{pattern}/**"]
            elif place["direct"] and (os.path.isdir(top) or not prefix):
                specs = [":(glob)" + (f"{prefix}/{pattern}" if prefix else pattern)]
            else:
                continue
            if prefix in ours:
                continue
            parts = prefix.split("/")
            less: list[str] = []
            if pattern or not single:
                products = [each for each in PRODUCTS if each not in [*parts, pattern]]
                less += [f":(exclude,glob)**/{each}{tail}" for each in products for tail in ("", "/**")]
                start = prefix + "/" if prefix else ""
                less += [":(exclude,literal)" + name for name in ours if name.startswith(start)]
            for spec in specs:
                remarks += self.add_by_force([spec, *less])
        if any(self.layer.meets(place["prefix"]) for place in named):
            self.layer.take_out()
        return remarks

    def add_by_force(self, specs: list[str]) -> Remarks:
        code, said = self.git.try_git("add", "-f", "-A", "--ignore-errors", "--", *specs)
        if code == 0 or "did not match any files" in said:
            return []
        listed = self.git.run("ls-files", "-z", "-m", "-o", "--", *specs).split(b"\0")[:-1]
        return self.adding.add_apart([name for name in dict.fromkeys(listed) if not name.endswith(b"/")])

    def left_out(self) -> Remarks:
        """Return what is left out because git ignores it, but for caches; take what the agent itself added by force."""
        found: list[tuple[bytes, str]] = []
        for _ in range(2):
            listed = self.git.run("ls-files", "-z", "-o", "-i", "--exclude-standard", "--directory").split(b"\0")[:-1]
            found = [(name, rule) for name, rule in self.matched(listed).items() if not self.is_of_no_interest(name)]
            if not found or not self.add_forced():
                break
        ours = self.copied_in()
        remarks = []
        for name, rule in found:
            text = os.fsdecode(name)
            remarks.append(
                (text, "it was copied in for you; changes to it stay here" if text in ours else "ignored: " + rule)
            )
        return remarks

    def add_forced(self) -> bool:
        """Take what the agent added by force (`git add -f`): its own index says so. Of its git data nothing else counts."""
        index = os.path.join(self.git.agent_dir, "index")
        try:
            if not stat.S_ISREG(os.lstat(index).st_mode):
                return False
            copy = os.path.join(self.git.private, f"theirs-{os.getpid()}")
            import shutil

            shutil.copyfile(index, copy)
        except OSError:
            return False
        try:
            environment = dict(self.git.environment(own=True), GIT_INDEX_FILE=copy)
            argv = ("git", "ls-files", "-z", "-c", "-i", "--exclude-standard")
            done = subprocess.run(
                argv, env=environment, cwd=self.git.workspace, stdin=subprocess.DEVNULL, capture_output=True
            )
        finally:
            os.unlink(copy)
        if done.returncode:
            return False
        known = set(self.git.run("ls-files", "-z", "-c", "-i", "--exclude-standard").split(b"\0"))
        ours = {os.fsencode(name) for name in self.copied_in()}
        names = [name for name in done.stdout.split(b"\0")[:-1] if name not in known | ours]
        names = [name for name in names if os.path.lexists(os.path.join(os.fsencode(self.git.workspace), name))]
        names = [name for name in names if not self.layer.is_as_laid(os.fsdecode(name))]
        if names:
            self.adding.add_apart(names)
        return bool(names)

    def matched(self, names: Iterable[bytes]) -> dict[bytes, str]:
        """Return those of these paths that git ignores, each with the rule."""
        data = b"".join(name + b"\0" for name in names)
        if not data:
            return {}
        # it ends with an error at a path that leads through a link
        said = self.git.run("check-ignore", "-v", "-z", "--stdin", data=data, ok=(0, 1, 128)).split(b"\0")
        found = {}
        for at in range(0, len(said) - 3, 4):
            source, line, pattern, name = said[at : at + 4]
            if pattern.startswith(b"!"):
                continue
            rule = os.fsdecode(pattern)
            if source.endswith(b"info/exclude"):
                found[name] = f"`{rule}` is on codexteam's list of build products"
            else:
                found[name] = f"`{rule}` in {os.fsdecode(source)}:{os.fsdecode(line)}"
        return found

    def is_of_no_interest(self, name: bytes) -> bool:
        """Whether an ignored entry is a tool's cache, or nothing but what was put here at the start."""
        text = os.fsdecode(name.rstrip(b"/"))
        if self.layer.has(text):
            return self.is_as_built(text)
        base = os.path.basename(text)
        path = os.path.join(self.git.workspace, text)
        if name.endswith(b"/"):
            if base == "__pycache__":
                return all(each.endswith(".pyc") for each in listing(path))
            if base in CACHES:
                return True
            ours = self.copied_in()
            return bool(ours) and all(self.is_unchanged(each, ours) for each in self.files_below(text))
        return base in CACHES or base.endswith(".pyc") or self.is_unchanged(text, self.copied_in())

    def is_as_built(self, name: str) -> bool:
        """Whether nobody wrote to what an environment put there, but for caches; of many files that is not looked at."""
        if not os.path.isdir(os.path.join(self.git.workspace, name)):
            return self.layer.is_as_laid(name)
        below = self.files_below(name)
        plain = [each for each in below if not (each.endswith(".pyc") or CACHES & set(each.split("/")))]
        return len(below) > LOOKED_AT or all(self.layer.is_as_laid(each) for each in plain)

    def is_unchanged(self, name: str, ours: Json) -> bool:
        return name in ours and self.states_or_none(name) == ours[name]

    def states_or_none(self, name: str) -> list[int] | None:
        try:
            state = os.lstat(os.path.join(self.git.workspace, name))
        except OSError:
            return None
        return [state.st_mtime_ns, state.st_size]

    def files_below(self, folder: str) -> list[str]:
        """Return files below a folder of the workspace, not all where there are many."""
        found: list[str] = []
        for parent, _, names in os.walk(os.path.join(self.git.workspace, folder)):
            found += [os.path.relpath(os.path.join(parent, name), self.git.workspace) for name in names]
            if len(found) > LOOKED_AT:
                break
        return found

    def copied_in(self) -> Json:
        """Return the user's ignored files that were put here at the start, each with what shows whether it changed."""
        if self.copied is None:
            path = os.path.join(self.git.own_dir, EXTRAS)
            known = json.loads(read_file(path).decode()) if os.path.exists(path) else {}
            self.copied = dict(known.get("ignored", {}))
        return self.copied
