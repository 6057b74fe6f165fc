"""A user's machine in a folder: a repository, a home, a configuration, and the real command in processes of its own."""

import fcntl
import hashlib
import json
import os
import shutil
import signal
import stat
import subprocess
import sys
import time
import zlib
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import cast

from codexteam.core.ids import JSONObject

ROOT = Path(__file__).parents[2]
KEY_NAME = "LOOPBACK_KEY"
#: The least that a pipe can hold: some fifteen lines of `--json`.
_NEAR_BYTES = 4096
_USUAL_BYTES = 1 << 16
#: How long what was killed may take to be gone: it dies when it is next given a processor, not with the call.
_DYING_SECONDS = 10.0
#: What the user's environment has; the service on loopback takes no other.
KEY = "scripted-" + "key-0123456789abcdef"


@dataclass(frozen=True, slots=True)
class Ended:
    """How a command ended."""

    code: int
    out: str
    err: str

    @property
    def lines(self) -> list[JSONObject]:
        """What `--json` printed."""
        return [cast("JSONObject", json.loads(line)) for line in self.out.splitlines()]


@dataclass(frozen=True, slots=True)
class World:
    """The user's machine."""

    folder: Path
    repository: Path
    home: Path

    def environment(self, **more: str) -> dict[str, str]:
        """What the user's shell has; nothing of the tests' own."""
        return {
            "PATH": os.environ["PATH"],
            "HOME": str(self.home),
            "CODEX_HOME": str(self.home / ".codex"),
            "PYTHONPATH": str(ROOT),
            "GIT_CONFIG_NOSYSTEM": "1",
            "COLUMNS": "100",
            "LANG": "C.UTF-8",
            KEY_NAME: KEY,
            **more,
        }

    def start(self, *arguments: str, **environment: str) -> subprocess.Popen[str]:
        """Start the command; the caller waits for it."""
        return self._started(arguments, environment, pipe_bytes=-1)

    def start_near(self, *arguments: str) -> subprocess.Popen[str]:
        """Start the command so that it waits for its reader when it is some lines ahead.

        However slow the reader is, the command is about where the last line was that it read.
        """
        process = self._started(arguments, {}, pipe_bytes=_NEAR_BYTES)
        assert process.stderr is not None
        fcntl.fcntl(process.stderr, fcntl.F_SETPIPE_SZ, _USUAL_BYTES)  # nobody reads it meanwhile
        return process

    def _started(
        self, arguments: tuple[str, ...], environment: Mapping[str, str], *, pipe_bytes: int
    ) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [sys.executable, "-m", "codexteam", *arguments],
            cwd=self.repository,
            env=self.environment(**environment),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            pipesize=pipe_bytes,
        )

    def run(self, *arguments: str, **environment: str) -> Ended:
        """Run the command to its end."""
        process = self.start(*arguments, **environment)
        out, err = _ended(process)
        return Ended(process.returncode, out, err)

    def run_until(self, lines: int, number: signal.Signals, *arguments: str) -> Ended:
        """Run the command with `--json`, and send it a signal when it has printed so many lines."""
        process = self.start_near(*arguments, "--json")
        assert process.stdout is not None
        seen = []
        for line in process.stdout:
            seen.append(line)
            if len(seen) == lines:
                process.send_signal(number)
        _, err = _ended(process)
        return Ended(process.returncode, "".join(seen), err)

    def git(self, *arguments: str) -> str:
        """Ask git about the repository, without a change to it."""
        return subprocess.run(
            ["git", "--no-optional-locks", *arguments],
            cwd=self.repository,
            env=self.environment(),
            check=True,
            capture_output=True,
            text=True,
        ).stdout

    @property
    def state(self) -> Path:
        """The state folder."""
        return self.repository / ".git" / "codexteam"

    @property
    def run_folder(self) -> Path:
        """The folder of the only run."""
        [folder] = (self.state / "runs").iterdir()
        return folder

    @property
    def branch(self) -> str:
        """The branch of the only run."""
        return f"codexteam/{self.run_folder.name}"

    def events(self) -> list[JSONObject]:
        """The only run's `events.jsonl`."""
        text = (self.run_folder / "events.jsonl").read_text(encoding="ascii")
        return [cast("JSONObject", json.loads(line)) for line in text.splitlines()]


def _ended(process: subprocess.Popen[str]) -> tuple[str, str]:
    """Wait for the end; a command that hangs is killed, and fails its test alone."""
    try:
        return process.communicate(timeout=300)
    except subprocess.TimeoutExpired:
        process.kill()
        process.communicate()
        raise


def make_world(folder: Path, sample: Path, base_url: str, team: str) -> World:
    """Make a machine whose user has changes of every kind under way; `team` are lines of the team's settings."""
    world = World(folder, folder / "tally", folder / "home")
    config = world.home / ".codex"
    config.mkdir(parents=True)
    (world.home / ".gitconfig").write_text("[user]\n\tname = User\n\temail = user@example.org\n")
    (config / "config.toml").write_text(
        f'model = "gpt-5.4"\nmodel_provider = "loopback"\n\n[model_providers.loopback]\nname = "Loopback"\n'
        f'base_url = "{base_url}"\nenv_key = "{KEY_NAME}"\nwire_api = "responses"\nrequest_max_retries = 1\n'
    )
    (config / "codexteam.config.toml").write_text(team)
    shutil.copytree(sample, world.repository, ignore=shutil.ignore_patterns("__pycache__"))
    for arguments in (("init", "-q", "-b", "main"), ("add", "."), ("commit", "-qm", "tally")):
        world.git(*arguments)
    hook = world.repository / ".git" / "hooks" / "post-commit"
    hook.write_text("#!/bin/sh\ntouch hook-ran\n")
    hook.chmod(0o755)
    money = world.repository / "tally" / "money.py"
    money.write_text(money.read_text() + "# the user's own, not committed\n")
    (world.repository / "staged.txt").write_text("staged\n")
    world.git("add", "staged.txt")
    (world.repository / "untracked.txt").write_text("untracked\n")
    return world


def fingerprint(world: World) -> dict[str, str]:
    """Everything in the repository that is the user's: bytes, modes and times, by path. Ours are left out."""
    ours = (".git/codexteam", ".git/objects", ".git/refs/heads/codexteam", ".git/logs/refs/heads/codexteam", "plan.md")
    found = {}
    for folder, folders, files in os.walk(world.repository):
        here = Path(folder).relative_to(world.repository)
        # not looked into: git may be at work there, also for a run that was killed just now
        folders[:] = [name for name in folders if (here / name).as_posix() not in ours]
        for path in (here / name for name in (*folders, *files)):
            if path.as_posix() not in ours:
                with suppress(FileNotFoundError):  # gone meanwhile, which is a difference if it was there before
                    found[path.as_posix()] = _looks(world.repository / path)
    return found


def _looks(path: Path) -> str:
    status = path.lstat()
    if stat.S_ISREG(status.st_mode):
        digest = hashlib.sha256(path.read_bytes()).hexdigest()
        return f"{status.st_mode:o} {status.st_mtime_ns} {digest}"
    return f"{status.st_mode:o}"


def tree_of(world: World, files: Mapping[str, str]) -> str:
    """Give the id of the tree that has exactly these files, made beside the user's repository."""
    folder = world.folder / "expected"
    shutil.rmtree(folder, ignore_errors=True)
    for name, text in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text, encoding="utf-8")
    for arguments in (("init", "-q"), ("add", "-f", ".")):
        subprocess.run(["git", *arguments], cwd=folder, env=world.environment(), check=True)
    done = subprocess.run(
        ["git", "write-tree"], cwd=folder, env=world.environment(), check=True, capture_output=True, text=True
    )
    return done.stdout.strip()


def files_with(world: World, secret: str) -> list[str]:
    """Give where a text stands: in every file of the state folder, packs inflated, and every object git can give."""
    wanted = secret.encode()
    found = [
        path.relative_to(world.state).as_posix()
        for path in world.state.rglob("*")
        if path.is_file() and wanted in _inflated(path)
    ]
    return found + [str(database) for database in _databases(world) if wanted in _objects(world, database)]


def _inflated(path: Path) -> bytes:
    data = path.read_bytes()
    if data[:4] == b"PACK":
        return data + b"".join(_pack_streams(data))
    try:
        return data + zlib.decompress(data)  # a loose object
    except zlib.error:
        return data


def _pack_streams(data: bytes) -> Iterator[bytes]:
    """Give all that a pack holds; where one stream ends the next entry's header is skipped over."""
    at = 12
    while at < len(data) - 20:
        unpacker = zlib.decompressobj()
        try:
            content = unpacker.decompress(data[at:])
        except zlib.error:
            at += 1
            continue
        if unpacker.eof:
            yield content
            at = len(data) - len(unpacker.unused_data)
        else:
            at += 1


def _databases(world: World) -> list[Path]:
    return [world.repository / ".git", *(path.parent for path in world.state.rglob("objects") if path.is_dir())]


def _objects(world: World, database: Path) -> bytes:
    """Give the contents of all objects, reachable or not."""
    return subprocess.run(
        ["git", f"--git-dir={database}", "cat-file", "--batch-all-objects", "--batch"],
        env=world.environment(),
        capture_output=True,
        check=False,
    ).stdout


def processes_of(world: World) -> list[str]:
    """Give the command lines of processes that have to do with this machine's folder, and are not just dying."""
    until = time.monotonic() + _DYING_SECONDS
    while (found := _seen_of(world)) and time.monotonic() < until:
        time.sleep(0.02)
    return found


def _seen_of(world: World) -> list[str]:
    found = []
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit() or entry.name == str(os.getpid()):
            continue
        try:
            words, environment = (entry / "cmdline").read_bytes(), (entry / "environ").read_bytes()
        except OSError:
            continue
        if os.fsencode(world.folder) in words + environment:
            found.append(words.replace(b"\0", b" ").decode(errors="replace"))
    return found
