"""Git over the workspace, run so that nothing an agent configures has a say."""

from __future__ import annotations

import json
import os
import subprocess

from .files import read_file
from .protocol import RequestRefused

TYPE_CHECKING = False
if TYPE_CHECKING:
    from .protocol import Json

IDENTITY = {
    "GIT_AUTHOR_NAME": "codexteam",
    "GIT_AUTHOR_EMAIL": "codexteam@localhost",
    "GIT_AUTHOR_DATE": "1000000000 +0000",
    "GIT_COMMITTER_NAME": "codexteam",
    "GIT_COMMITTER_EMAIL": "codexteam@localhost",
    "GIT_COMMITTER_DATE": "1000000000 +0000",
}
AGENT_CONFIG = b"""[core]
\trepositoryformatversion = 0
\tfilemode = true
\tbare = false
\tlogallrefupdates = true
\tprotectNTFS = false
\tprotectHFS = false
[gc]
\tauto = 0
[maintenance]
\tauto = false
[advice]
\tdetachedHead = false
[user]
\tname = codexteam
\temail = codexteam@localhost
"""
PRIVATE_CONFIG = b"""[core]
\trepositoryformatversion = 0
\tfilemode = true
\tbare = false
\tprotectNTFS = false
\tprotectHFS = false
\thooksPath = /dev/null
\tcompression = 1
\tfsync = none
\tquotePath = false
[gc]
\tauto = 0
[pack]
\tthreads = 1
\tcompression = 1
"""
EXTRAS = "codexteam-extras.json"
LAYER = "codexteam-layer.json"

#: What tools leave wherever they run: nobody misses it, so it is neither kept nor reported.
CACHES = {"__pycache__", ".pytest_cache", ".mypy_cache", ".ruff_cache", ".hypothesis", ".DS_Store"}
#: Files of one folder that are looked at.
LOOKED_AT = 2000


class Git:
    """The workspace's history: put in place at the start, packed up after each turn.

    What is taken out goes through a git folder of its own under `private`, with its own index and configuration, so
    that nothing an agent does to the workspace's `.git` can keep its work in.
    """

    def __init__(self, workspace: str, private: str, base_git: str | None) -> None:
        self.workspace = workspace
        self.private = private
        self.base_git = base_git
        self.agent_dir = os.path.join(workspace, ".git")
        self.own_dir = os.path.join(private, "git")
        self.index = os.path.join(private, "index")

    def environment(self, *, own: bool) -> dict[str, str]:
        env = {
            "PATH": os.environ.get("PATH", "/usr/local/bin:/usr/bin:/bin"),
            "HOME": self.private,
            "LC_ALL": "C",
            "GIT_CONFIG_NOSYSTEM": "1",
            "GIT_CONFIG_GLOBAL": "/dev/null",
            "GIT_ATTR_NOSYSTEM": "1",
            "GIT_TERMINAL_PROMPT": "0",
            "GIT_NO_REPLACE_OBJECTS": "1",
            "GIT_NO_LAZY_FETCH": "1",
            "GIT_LFS_SKIP_SMUDGE": "1",
            "GIT_DIR": self.own_dir if own else self.agent_dir,
            "GIT_WORK_TREE": self.workspace,
        }
        if own:
            env["GIT_INDEX_FILE"] = self.index
        env.update(IDENTITY)
        return env

    def run(self, *argv: str, own: bool = True, data: bytes | None = None, ok: tuple[int, ...] = (0,)) -> bytes:
        try:
            done = subprocess.run(
                ("git", *argv),
                env=self.environment(own=own),
                cwd=self.workspace,
                input=b"" if data is None else data,
                capture_output=True,
            )
        except FileNotFoundError as error:
            raise RequestRefused("missing", "there is no git in the sandbox; its image must have one") from error
        if done.returncode not in ok:
            said = done.stderr.decode("utf-8", "replace").strip()[-2000:]
            raise RequestRefused("git", f"git {argv[0]} ended with {done.returncode}: {said}")
        return done.stdout

    def feed(self, *argv: str, own: bool) -> None:
        """Run git with what the host sends as its standard input."""
        done = subprocess.run(
            ("git", *argv),
            env=self.environment(own=own),
            cwd=self.workspace,
            stdin=0,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
        )
        if done.returncode:
            said = done.stderr.decode("utf-8", "replace").strip()[-2000:]
            raise RequestRefused("git", f"git {argv[0]} ended with {done.returncode}: {said}")

    def try_git(self, *argv: str, data: bytes = b"", more: Json | None = None) -> tuple[int, str]:
        """Run git on our own index, whatever comes of it; return its exit code and what it says."""
        try:
            done = subprocess.run(
                ("git", *argv),
                env=dict(self.environment(own=True), **(more or {})),
                cwd=self.workspace,
                input=data,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.PIPE,
            )
        except FileNotFoundError as error:
            raise RequestRefused("missing", "there is no git in the sandbox; its image must have one") from error
        return done.returncode, done.stderr.decode("utf-8", "surrogateescape")

    def look(self, *argv: str) -> bytes | None:
        """Ask git about objects that only the agent's repository has; None when it has no answer."""
        environment = dict(
            self.environment(own=True), GIT_ALTERNATE_OBJECT_DIRECTORIES=os.path.join(self.agent_dir, "objects")
        )
        done = subprocess.run(
            ("git", *argv), env=environment, cwd=self.workspace, stdin=subprocess.DEVNULL, capture_output=True
        )
        return done.stdout if done.returncode == 0 else None

    def base_tree(self, base: str) -> str:
        try:
            known = json.loads(read_file(os.path.join(self.private, "base.json")).decode())["tree"]
            return str(known)
        except (OSError, ValueError, KeyError):
            return self.run("rev-parse", "--verify", "--end-of-options", base + "^{tree}").decode().strip()


def config_for(plain: bytes, commit: str) -> bytes:
    """Return a configuration for a repository whose ids are as long as this one: of SHA-1, or of SHA-256."""
    if len(commit) == 40:
        return plain
    newer = plain.replace(b"repositoryformatversion = 0", b"repositoryformatversion = 1")
    return newer + b"[extensions]\n\tobjectFormat = sha256\n"
