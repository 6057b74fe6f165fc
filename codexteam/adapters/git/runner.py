"""Runs git: neutral, with a deadline, a cap on output and limits on resources.

GitPython's `execute` starts from the process's own environment and adds to it, and it neither caps output nor kills a
process group. So git is started here, with the environment that is said to be its own, and the pipes are pumped here.
"""

import contextlib
import os
import resource
import selectors
import shutil
import signal
import subprocess
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

from codexteam.core.text import clean
from codexteam.errors import RepoError
from codexteam.system.fault_points import reach

#: No file of this name exists: programs looked up below it are not found, settings read from it are empty.
_NOWHERE = "/nonexistent"

#: Written to a bare repository's `info/attributes`, which beats every tracked `.gitattributes`.
ATTRIBUTES = b"* diff merge !filter -ident -text !working-tree-encoding !export-subst !export-ignore\n"
#: What a call may take when nothing else is said.
DEADLINE_SECONDS = 120.0
#: What a call may print when nothing else is said: the listing of a very large repository fits.
OUTPUT_BYTES = 512 << 20
_PIPE_BYTES = 1 << 16
_STDERR_BYTES = 1 << 16


def neutral_environment(*, git_dir: str | None, work_tree: str | None = None) -> dict[str, str]:
    """Return git's whole environment, made from nothing.

    Args:
        git_dir: what git works on; None only for finding a repository, which is then looked for from the folder
            git starts in.
        work_tree: for the few calls that look at the user's files.
    """
    environment = {
        "PATH": "/usr/local/bin:/usr/bin:/bin",
        "HOME": _NOWHERE,
        "XDG_CONFIG_HOME": _NOWHERE,
        "LC_ALL": "C",
        "TZ": "UTC",
        "GIT_CONFIG_NOSYSTEM": "1",
        "GIT_CONFIG_GLOBAL": os.devnull,
        "GIT_ATTR_NOSYSTEM": "1",
        "GIT_TERMINAL_PROMPT": "0",
        "GIT_ASKPASS": "/bin/false",
        "SSH_ASKPASS": "/bin/false",
        "GIT_SSH_COMMAND": "/bin/false",
        "GIT_PROXY_COMMAND": "/bin/false",
        "GIT_EDITOR": "/bin/false",
        "GIT_PAGER": "cat",
        "GIT_OPTIONAL_LOCKS": "0",
        "GIT_NO_REPLACE_OBJECTS": "1",
        "GIT_NO_LAZY_FETCH": "1",
        "GIT_ALLOW_PROTOCOL": "none",
        "GIT_LFS_SKIP_SMUDGE": "1",
        "GIT_LITERAL_PATHSPECS": "1",
        "GIT_GRAFT_FILE": os.devnull,
        "GIT_ADVICE": "0",
    }
    if git_dir is not None:
        environment["GIT_DIR"] = git_dir
    if work_tree is not None:
        environment["GIT_WORK_TREE"] = work_tree
    return environment


def neutral_flags(*, excludes_file: str | None = None, discover: bool = False) -> list[str]:
    """Return the flags that stand before git's subcommand; they beat what the repository's own configuration says.

    Args:
        excludes_file: the user's list of ignored files, for calls that look at the work tree.
        discover: leave alone what the user's git finds a repository by, and that list.
    """
    settings = {
        "core.hooksPath": os.devnull,
        "core.fsmonitor": "false",
        "core.untrackedCache": "false",
        "core.protectHFS": "true",
        "core.protectNTFS": "true",
        "core.symlinks": "false",
        "core.attributesFile": os.devnull,
        "core.alternateRefsCommand": "",
        "core.sshCommand": "/bin/false",
        "core.editor": "/bin/false",
        "core.pager": "cat",
        "credential.helper": "",
        "protocol.allow": "never",
        "submodule.recurse": "false",
        "fetch.recurseSubmodules": "false",
        "gc.auto": "0",
        "maintenance.auto": "false",
        "commit.gpgSign": "false",
        "tag.gpgSign": "false",
        "gpg.program": "/bin/false",
        "transfer.fsckObjects": "true",
        "merge.renormalize": "false",
        "merge.verifySignatures": "false",
        "pack.threads": "1",
        # the store names a commit and is synced: after a power cut its objects and refs must be there too, as git has
        # only packs by default
        "core.fsync": "committed,reference",
        # a hostile pack of many objects must not be mapped whole
        "core.packedGitWindowSize": "32m",
        "core.packedGitLimit": "512m",
    }
    if not discover:
        settings |= {"safe.bareRepository": "explicit", "core.excludesFile": excludes_file or os.devnull}
    flags = ["--no-pager", "--no-replace-objects", "--literal-pathspecs"]
    for key, value in settings.items():
        flags += ["-c", f"{key}={value}"]
    return flags


class GitTimeout(Exception):  # noqa: N818 - an outcome that callers turn into their own words
    """A call did not end by its deadline and was killed."""


@dataclass(frozen=True, slots=True)
class GitDeadline:
    """A moment that several calls share."""

    at: float

    @classmethod
    def after(cls, seconds: float) -> "GitDeadline":
        """Return the moment so many seconds from now."""
        return cls(time.monotonic() + seconds)

    def left(self) -> float:
        """Return the seconds that are left, never below 0."""
        return max(self.at - time.monotonic(), 0.0)

    def check(self) -> None:
        """Raise `GitTimeout` when nothing is left."""
        if self.left() <= 0:
            raise GitTimeout


@dataclass(frozen=True, slots=True)
class ResourceLimits:
    """What the kernel stops a process at."""

    memory_bytes: int = 4 << 30
    cpu_seconds: int = 120
    file_bytes: int = 1 << 30


@dataclass(frozen=True, slots=True)
class GitResult:
    """How a call ended."""

    code: int
    """Below 0: minus the signal it was ended by."""
    out: bytes
    err: str
    """Escaped for people, one paragraph at most."""
    cut: bool = False
    """It printed more than its cap and was killed."""

    @property
    def ok(self) -> bool:
        """Whether it ended with 0 and printed no more than it may."""
        return self.code == 0 and not self.cut


@dataclass(frozen=True, slots=True)
class GitCall:
    """One git call."""

    args: Sequence[str]
    git_dir: Path | None
    stdin: bytes | IO[bytes] = b""
    work_tree: Path | None = None
    cwd: Path | None = None
    environment: Mapping[str, str | None] = field(default_factory=dict)
    """Changes to the neutral one, None takes a variable away."""
    discover: bool = False
    """Look for a repository, bare ones too, as the user's git would; only for commands that never run anything."""
    excludes_file: str | None = None
    deadline: GitDeadline | None = None
    output_bytes: int = OUTPUT_BYTES
    limits: ResourceLimits | None = None


def find_git(search_path: str | None) -> str:
    """Return git's absolute path.

    Raises:
        RepoError: there is none.
    """
    found = shutil.which("git", path=search_path)
    if found is None:
        raise RepoError("git was not found", hint="Install git 2.38 or newer, and see that it is in PATH.")
    return str(Path(found).absolute())


class GitRunner:
    """Calls one git binary. Knows no repository; may be used from several threads."""

    def __init__(self, git: str, work_dir: Path) -> None:
        """Take the binary and the folder that calls start in where they say no other."""
        self._git = git
        self._work_dir = work_dir

    def run(self, call: GitCall) -> GitResult:
        """Run to the end, whatever the exit code.

        Raises:
            GitTimeout: the deadline passed; everything the call started is killed.
            RepoError: there is no git any more.
        """
        reach(f"git.{call.args[0]}.before")
        with self.start(call, stdin=subprocess.PIPE if isinstance(call.stdin, bytes) else call.stdin) as process:
            result = _pump(process, call)
        reach(f"git.{call.args[0]}.after")
        return result

    def check(self, call: GitCall, what: str) -> bytes:
        """Run and give the output.

        Raises:
            RepoError: it failed, or took too long; `what` says what was tried.
        """
        try:
            result = self.run(call)
        except GitTimeout:
            raise RepoError(f"{what}: git took too long") from None
        if not result.ok:
            raise RepoError(f"{what}: git {call.args[0]} failed: {result.err or result.code}")
        return result.out

    @contextlib.contextmanager
    def start(self, call: GitCall, *, stdin: int | IO[bytes]) -> Iterator["subprocess.Popen[bytes]"]:
        """Start a process that is killed, with all it started, at the end of the block."""
        cwd = call.cwd or call.work_tree or call.git_dir or self._work_dir
        environment = neutral_environment(
            git_dir=str(call.git_dir) if call.git_dir else None,
            work_tree=str(call.work_tree) if call.work_tree else None,
        )
        assignments = {name: value for name, value in {**environment, **call.environment}.items() if value is not None}
        flags = neutral_flags(excludes_file=call.excludes_file, discover=call.discover)
        try:
            process = subprocess.Popen(
                (self._git, *flags, *call.args),
                cwd=cwd,
                env=assignments,
                stdin=stdin,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                start_new_session=True,
            )
        except OSError as error:
            if os.access(self._git, os.X_OK):
                raise
            hint = "see that git 2.38 or newer is in PATH, then `codexteam resume`"
            raise RepoError(f"git cannot be run: {self._git} is gone or no program", hint=hint) from error
        try:
            if call.limits is not None:
                _limit(process.pid, call.limits)
            yield process
        finally:
            _end(process)


def _limit(pid: int, limits: ResourceLimits) -> None:
    if not hasattr(resource, "prlimit"):  # only Linux can set another process's limits
        return
    wanted = {
        resource.RLIMIT_AS: limits.memory_bytes,
        resource.RLIMIT_CPU: limits.cpu_seconds,
        resource.RLIMIT_FSIZE: limits.file_bytes,
        resource.RLIMIT_CORE: 0,
    }
    with contextlib.suppress(ProcessLookupError):
        for kind, most in wanted.items():
            _, hard = resource.prlimit(pid, kind)
            # where the user's shell allows less, less it is: nobody may raise a hard limit
            allowed = most if hard == resource.RLIM_INFINITY else min(most, hard)
            resource.prlimit(pid, kind, (allowed, allowed))


def _end(process: "subprocess.Popen[bytes]") -> None:
    _kill(process)
    for stream in (process.stdin, process.stdout, process.stderr):
        if stream is not None:
            with contextlib.suppress(BrokenPipeError):
                stream.close()


class _Input:
    """Feeds bytes to a pipe as it takes them."""

    def __init__(self, stream: IO[bytes], data: bytes) -> None:
        self.stream = stream
        self._left = memoryview(data)

    def step(self) -> bool:
        """Write what fits; False when there is no more to write."""
        try:
            self._left = self._left[os.write(self.stream.fileno(), self._left[:_PIPE_BYTES]) :]
        except BrokenPipeError:
            self._left = memoryview(b"")
        return bool(self._left)


class _Output:
    """Collects both outputs, each up to its cap."""

    def __init__(self, cap_bytes: int) -> None:
        self._cap = cap_bytes
        self._parts: dict[str, list[bytes]] = {"out": [], "err": []}
        self._sizes = {"out": 0, "err": 0}

    def add(self, name: str, data: bytes) -> bool:
        """Take what came; False when standard output is over its cap."""
        self._sizes[name] += len(data)
        if name == "out" or self._sizes[name] <= _STDERR_BYTES:
            self._parts[name].append(data)
        return self._sizes["out"] <= self._cap

    def out(self) -> bytes:
        """Return standard output, no more than the cap."""
        return b"".join(self._parts["out"])[: self._cap]

    def err(self) -> str:
        """Return standard error for people."""
        return _message(b"".join(self._parts["err"]))


def _pump(process: "subprocess.Popen[bytes]", call: GitCall) -> GitResult:
    """Feed standard input and collect both outputs until the process ends, the cap or the deadline is met."""
    deadline = call.deadline or GitDeadline.after(DEADLINE_SECONDS)
    output = _Output(call.output_bytes)
    with selectors.DefaultSelector() as selector:
        for stream, name in ((process.stdout, "out"), (process.stderr, "err")):
            if stream is not None:
                selector.register(stream, selectors.EVENT_READ, name)
        feeder = _feeder(process, call.stdin, selector)
        while selector.get_map():
            ready = selector.select(min(deadline.left(), 3600.0))
            deadline.check()
            for key, _ in ready:
                if feeder is not None and key.data == "in":
                    if not feeder.step():
                        selector.unregister(feeder.stream)
                        _close(feeder.stream)
                elif not (data := os.read(key.fd, _PIPE_BYTES)):
                    selector.unregister(key.fileobj)
                elif not output.add(key.data, data):
                    return GitResult(-signal.SIGKILL, output.out(), "it printed too much", cut=True)
    try:
        code = process.wait(timeout=max(deadline.left(), 0.01))
    except subprocess.TimeoutExpired:
        raise GitTimeout from None
    return GitResult(code, output.out(), output.err())


def _feeder(
    process: "subprocess.Popen[bytes]", data: bytes | IO[bytes], selector: selectors.DefaultSelector
) -> _Input | None:
    if process.stdin is None or not isinstance(data, bytes):
        return None
    if not data:
        _close(process.stdin)
        return None
    os.set_blocking(process.stdin.fileno(), False)
    selector.register(process.stdin, selectors.EVENT_WRITE, "in")
    return _Input(process.stdin, data)


def _close(stream: IO[bytes]) -> None:
    with contextlib.suppress(BrokenPipeError):
        stream.close()


def _message(err: bytes) -> str:
    lines = clean(err.decode("utf-8", "replace")).strip().splitlines()
    return "; ".join(line.removeprefix("fatal: ").removeprefix("error: ") for line in lines[:8])


def pipe(runner: GitRunner, source: GitCall, sink: GitCall, what: str) -> bytes:
    """Run two calls with the first's output as the second's input, and give the second's output.

    Raises:
        RepoError: one of them failed, or they took too long.
    """
    deadline = source.deadline or GitDeadline.after(DEADLINE_SECONDS)
    errors: list[bytes] = []
    reach(f"git.pipe.{source.args[0]}.before")
    with runner.start(source, stdin=subprocess.PIPE) as first:
        if first.stdin is None or first.stdout is None or first.stderr is None or not isinstance(source.stdin, bytes):
            raise RepoError(f"{what}: git could not be started")
        first.stdin.write(source.stdin)
        first.stdin.close()
        reader = threading.Thread(target=lambda stream: errors.append(stream.read(_STDERR_BYTES)), args=(first.stderr,))
        reader.start()
        try:
            taken = runner.run(
                GitCall(sink.args, sink.git_dir, stdin=first.stdout, deadline=deadline, limits=sink.limits)
            )
            first.stdout.close()  # a source whose sink has gone ends instead of waiting
            code = first.wait(timeout=max(deadline.left(), 0.01))
        except (GitTimeout, subprocess.TimeoutExpired):
            raise RepoError(f"{what}: git took too long") from None
        finally:
            _kill(first)
            reader.join()
    reach(f"git.pipe.{source.args[0]}.after")
    if code != 0 or not taken.ok:
        reason = _message(b"".join(errors)) or taken.err
        raise RepoError(f"{what}: git {source.args[0]} failed: {reason}")
    return taken.out


def _kill(process: "subprocess.Popen[bytes]") -> None:
    if process.poll() is None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
