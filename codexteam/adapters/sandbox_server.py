"""The program that runs inside every sandbox: it starts commands, and takes the workspace's work out as a pack.

One file of standard library only, with the syntax of Python 3.7, so that it can be handed to whatever interpreter an
image has. It talks over its standard input and output in frames: two big-endian 32-bit lengths, a JSON header, raw
bytes. Its own memory is closed to the commands, although they run as the same user (`PR_SET_DUMPABLE` 0): what a
command ended with is what this program saw.

Run as process 1 of a PID namespace it cannot be killed from inside. It is started with one argument, a JSON object:
`workspace`, `private` (a folder for its own git data), `base_git` (a read-only `.git` of the root commit, or null),
`alone` (nothing but commands started here lives in this PID namespace) and `output_cap_bytes`.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import fcntl
import json
import os
import re
import selectors
import shutil
import signal
import stat
import struct
import subprocess
import sys
import termios
import time
from collections import deque

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from typing import Any

    Json = dict[str, Any]

PROTOCOL = 1
CHUNK = 65536
#: A header or body larger than this is not ours.
FRAME_LIMIT = 256 << 20
#: Room kept free in a clipped output for the line that says how much is missing.
MARKER_ROOM = 64
#: Once this much waits for the host, commands whose output is streamed are not read from.
BACKLOG = 4 << 20
#: How long an output is waited for that something holds open after its command and all it left have been killed.
DRAIN_SECONDS = 0.5
#: The inode of the machine's own PID namespace, the same on every Linux.
MACHINE_PID_NAMESPACE = "pid:[4026531836]"
PR_SET_DUMPABLE = 4
PR_SET_CHILD_SUBREAPER = 36
IDENTITY = {
    "GIT_AUTHOR_NAME": "codexteam",
    "GIT_AUTHOR_EMAIL": "codexteam@localhost",
    "GIT_AUTHOR_DATE": "1000000000 +0000",
    "GIT_COMMITTER_NAME": "codexteam",
    "GIT_COMMITTER_EMAIL": "codexteam@localhost",
    "GIT_COMMITTER_DATE": "1000000000 +0000",
}
#: Files may come from a copy-on-write layer: of a file's state only size and modification time are its own.
AGENT_CONFIG = b"""[core]
\trepositoryformatversion = 0
\tfilemode = true
\tbare = false
\tlogallrefupdates = true
\tcheckStat = minimal
\ttrustctime = false
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
\tcheckStat = minimal
\ttrustctime = false
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


def config_for(plain: bytes, commit: str) -> bytes:
    """Give a configuration for a repository whose ids are as long as this one: of SHA-1, or of SHA-256."""
    if len(commit) == 40:
        return plain
    newer = plain.replace(b"repositoryformatversion = 0", b"repositoryformatversion = 1")
    return newer + b"[extensions]\n\tobjectFormat = sha256\n"


def read_file(path: str) -> bytes:
    with open(path, "rb") as file:
        return file.read()


def write_file(path: str, data: bytes) -> None:
    with open(path, "wb") as file:
        file.write(data)


def prctl(option: int, value: int) -> None:
    ctypes.CDLL(None, use_errno=True).prctl(option, value, 0, 0, 0)


class Refused(Exception):
    """A request that cannot be done; `kind` is what the host raises for it."""

    def __init__(self, kind: str, message: str) -> None:
        super().__init__(message)
        self.kind = kind


def refusal(error: BaseException, path: str = "") -> Json:
    """Give the error reply for an exception; `path` is what the request was about."""
    if isinstance(error, Refused):
        return {"kind": "error", "error": error.kind, "message": str(error)}
    if isinstance(error, OSError):
        denied = isinstance(error, PermissionError) or error.errno == errno.EROFS
        kind = "permission" if denied else "os"
        return {"kind": "error", "error": kind, "message": named(error, path), "errno": error.errno}
    return {"kind": "error", "error": "internal", "message": f"{type(error).__name__}: {error}"}


def named(error: OSError, path: str) -> str:
    """Say what is wrong and with which file: the one that was asked for, else the one that the system names."""
    where = path or error.filename or ""
    if isinstance(where, bytes):
        where = os.fsdecode(where)
    what = error.strerror or str(error)
    return f"{where}: {what}" if where else what


# Processes ------------------------------------------------------------------------------------------------------------


def children_of(pid: int) -> list[int]:
    """Give the ids of a process's children, zombies included."""
    try:
        found: list[int] = []
        for task in os.listdir(f"/proc/{pid}/task"):
            found += map(int, read_file(f"/proc/{pid}/task/{task}/children").split())
        return found
    except FileNotFoundError:
        if not os.path.exists(f"/proc/{pid}"):
            return []
    except OSError:
        return []
    return [child for child in every_process() if process_state(child)[1] == pid]


def every_process() -> list[int]:
    return [int(name) for name in os.listdir("/proc") if name.isdigit()]


def process_state(pid: int) -> tuple[str, int, int]:
    """Give a process's state letter, parent and session; ("", 0, 0) when it is gone."""
    try:
        fields = read_file(f"/proc/{pid}/stat").rsplit(b")", 1)[1].split()
    except (OSError, IndexError):
        return ("", 0, 0)
    return (fields[0].decode(), int(fields[1]), int(fields[3]))


def tree_of(roots: list[int]) -> list[int]:
    """Give these processes and all that descend from them."""
    found = list(roots)
    for pid in found:  # grows while it is walked
        found += [child for child in children_of(pid) if child not in found]
    return found


def signal_quietly(pid: int, number: int) -> None:
    try:
        os.kill(pid, number)
    except (ProcessLookupError, PermissionError):
        return


def marker_of(pid: int) -> int | None:
    """Give the number of the command that a process belongs to, as its environment says; None when it does not."""
    try:
        found = re.search(rb"(?:^|\0)CODEXTEAM_COMMAND=(\d+)\0", read_file(f"/proc/{pid}/environ"))
    except OSError:
        return None
    return int(found.group(1)) if found else None


# Output ---------------------------------------------------------------------------------------------------------------


class Output:
    """What a command printed: its head, its tail, and how much there was."""

    def __init__(self, limit: int) -> None:
        limit = max(limit, 4 * MARKER_ROOM)
        self.limit = limit
        self.head_room = limit // 4
        self.tail_room = limit - self.head_room
        self.head = bytearray()
        self.tail: deque[bytes] = deque()
        self.tail_bytes = 0
        self.total = 0

    def add(self, data: bytes) -> None:
        self.total += len(data)
        if len(self.head) < self.head_room:
            taken = data[: self.head_room - len(self.head)]
            self.head += taken
            data = data[len(taken) :]
        if data:
            self.tail.append(data)
            self.tail_bytes += len(data)
            while self.tail_bytes - len(self.tail[0]) >= self.tail_room:
                self.tail_bytes -= len(self.tail.popleft())

    def value(self) -> bytes:
        tail = b"".join(self.tail)
        if self.total <= self.limit:
            return bytes(self.head) + tail
        tail = tail[-(self.tail_room - MARKER_ROOM) :]
        missing = self.total - len(self.head) - len(tail)
        return bytes(self.head) + b"\n[... %d bytes left out ...]\n" % missing + tail


class Running:
    """A command or job on its way."""

    def __init__(self, number: int, header: Json, pid: int) -> None:
        self.number = number
        self.pid = pid
        self.output = Output(int(header.get("output_limit", 1 << 20)))
        self.stream = bool(header.get("stream"))
        self.session = bool(header.get("session"))
        self.started = time.monotonic()
        timeout = header.get("timeout")
        self.deadline: float | None = self.started + timeout if timeout else None
        self.status: int | None = None
        self.wall = 0.0
        self.timed_out = False
        self.over_cap = False
        self.left = 0
        self.out = -1
        self.stdin = -1
        self.pending: deque[bytes | memoryview] = deque()
        self.pending_bytes = 0
        self.close_stdin = False
        self.drain_until: float | None = None
        self.job_reply = -1


# Paths ----------------------------------------------------------------------------------------------------------------


class Workspace:
    """The folder that file requests are confined to."""

    def __init__(self, root: str) -> None:
        self.root = os.path.realpath(root)

    def resolve(self, path: str) -> str:
        """Give the real path, links followed; it lies inside the workspace."""
        if "\0" in path:
            raise Refused("value", "a path cannot hold a NUL")
        real = os.path.realpath(os.path.join(self.root, path))
        self.check(real, path)
        return real

    def check(self, real: str, path: str) -> None:
        if real != self.root and not real.startswith(self.root + "/"):
            raise Refused("value", f"{path} lies outside the workspace")

    def check_open(self, descriptor: int, path: str) -> None:
        """Look at what was really opened: a link may have changed since the path was resolved."""
        self.check(os.readlink(f"/proc/self/fd/{descriptor}"), path)

    def read(self, path: str, limit: int) -> bytes | None:
        real = self.resolve(path)
        try:
            # without O_NONBLOCK a FIFO would hold this program up
            descriptor = os.open(real, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOCTTY)
        except (FileNotFoundError, NotADirectoryError):
            return None
        except OSError as error:
            if error.errno in (errno.ELOOP, errno.ENXIO):
                raise Refused("value", f"{path} is no regular file") from error
            raise
        try:
            self.check_open(descriptor, path)
            state = os.fstat(descriptor)
            if not stat.S_ISREG(state.st_mode):
                raise Refused("value", f"{path} is no regular file")
            with os.fdopen(os.dup(descriptor), "rb") as file:
                data = file.read(limit + 1)
        finally:
            os.close(descriptor)
        if len(data) > limit:
            size = max(state.st_size, len(data))
            raise Refused("value", f"{path} has {size} bytes, more than the {limit} allowed")
        return data

    def open_parent(self, real: str, path: str, *, create: bool) -> int:
        parent = os.path.dirname(real)
        if create:
            os.makedirs(parent, exist_ok=True)
        descriptor = os.open(parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            self.check_open(descriptor, path)
        except Refused:
            os.close(descriptor)
            raise
        return descriptor

    def write(self, path: str, data: bytes, *, executable: bool | None) -> None:
        real = self.resolve(path)
        name = os.path.basename(real)
        if real == self.root or path.endswith("/") or os.path.isdir(real):
            raise Refused("value", f"{path} names a folder")
        try:
            parent = self.open_parent(real, path, create=True)
        except (FileExistsError, NotADirectoryError) as error:
            raise Refused("value", f"a part of {path} is a file, not a folder") from error
        temporary = f".{name[:200]}.codexteam-{os.getpid()}"
        try:
            mode = 0o644
            try:
                before = os.stat(name, dir_fd=parent, follow_symlinks=False)
            except FileNotFoundError:
                before = None
            if before is not None:
                if not stat.S_ISREG(before.st_mode):
                    raise Refused("value", f"{path} is no regular file")
                mode = before.st_mode & 0o777
            if executable is not None:
                mode = mode | 0o111 if executable else mode & ~0o111
            flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
            with contextlib.suppress(FileNotFoundError):  # left by an earlier server of this sandbox
                os.unlink(temporary, dir_fd=parent)
            descriptor = os.open(temporary, flags, 0o600, dir_fd=parent)
            try:
                with os.fdopen(descriptor, "wb") as file:
                    file.write(data)
                    os.fchmod(descriptor, mode)
                os.rename(temporary, name, src_dir_fd=parent, dst_dir_fd=parent)
            except OSError:
                os.unlink(temporary, dir_fd=parent)
                raise
        finally:
            os.close(parent)

    def delete(self, path: str) -> None:
        if "\0" in path:
            raise Refused("value", "a path cannot hold a NUL")
        joined = os.path.join(self.root, path).rstrip("/")
        name = os.path.basename(joined)
        real_parent = os.path.realpath(os.path.dirname(joined))
        self.check(real_parent, path)
        if joined == self.root or name in ("", ".", ".."):
            raise Refused("value", f"{path} names a folder")
        try:
            parent = self.open_parent(os.path.join(real_parent, name), path, create=False)
        except (FileNotFoundError, NotADirectoryError):
            return
        try:
            os.unlink(name, dir_fd=parent)
        except FileNotFoundError:
            return
        except IsADirectoryError as error:
            raise Refused("value", f"{path} names a folder") from error
        finally:
            os.close(parent)


# Git ------------------------------------------------------------------------------------------------------------------


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
            raise Refused("missing", "there is no git in the sandbox; its image must have one") from error
        if done.returncode not in ok:
            said = done.stderr.decode("utf-8", "replace").strip()[-2000:]
            raise Refused("git", f"git {argv[0]} ended with {done.returncode}: {said}")
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
            raise Refused("git", f"git {argv[0]} ended with {done.returncode}: {said}")

    # ... before the agent's first command: everything in the workspace is still ours

    def job_root(self, args: Json) -> Json:
        """Unpack the `.git` that comes in, and check the root commit out."""
        extract_tar(0, self.workspace, only=".git")
        write_file(os.path.join(self.agent_dir, "config"), config_for(AGENT_CONFIG, args["commit"]))
        for name in ("refs/heads", "info", "objects/info"):
            os.makedirs(os.path.join(self.agent_dir, name), exist_ok=True)
        return self.show(args["commit"])

    def job_delta(self, args: Json) -> Json:
        """Take in a pack on top of the root commit, and check another commit out."""
        self.feed("index-pack", "--stdin", "--fix-thin", own=False)
        self.show(args["commit"])
        extras = os.path.join(self.agent_dir, EXTRAS)
        if os.path.exists(extras):
            self.leave_alone(json.loads(read_file(extras).decode()))
        return {}

    def show(self, commit: str) -> Json:
        write_file(os.path.join(self.agent_dir, "HEAD"), b"ref: refs/heads/work\n")
        self.run("update-ref", "--no-deref", "refs/heads/work", commit, own=False)
        self.run("read-tree", "--reset", "-u", commit, own=False)
        return {}

    def job_seal(self, args: Json) -> Json:
        """Give every file of a base one old time, in the index too: no copy of it is ever read again to compare."""
        then = int(args["mtime_seconds"])
        path = os.path.join(self.agent_dir, "index")
        data, names = restamp_index(read_file(path), then)
        root = os.fsencode(self.workspace)
        for name in names:
            full = os.path.join(root, name)
            if os.path.lexists(full):
                os.utime(full, (then, then), follow_symlinks=False)
        write_file(path, data)
        extras = os.path.join(self.agent_dir, EXTRAS)
        if os.path.exists(extras):
            known = json.loads(read_file(extras).decode())
            write_file(extras, json.dumps(dict(known, files=self.states(known["files"]))).encode())
        return {"files": len(names)}

    def states(self, names: Iterable[str]) -> Json:
        """Give what tells whether a file was written to: its time and size."""
        found = {}
        for name in names:
            state = os.lstat(os.path.join(self.workspace, name))
            found[name] = [state.st_mtime_ns, state.st_size]
        return found

    def job_extra(self, _args: Json) -> Json:
        """Put in the files that git does not track or keeps elsewhere; they are not taken as changes."""
        names = extract_tar(0, self.workspace, only=None)
        tracked = set(self.run("ls-files", "-z", own=False).split(b"\0"))
        ours = [os.fsencode(name) for name in names]
        kept = [name for name in ours if name in tracked]
        links = set()
        for entry in self.run("ls-files", "-s", "-z", own=False).split(b"\0"):
            if entry.startswith(b"160000 "):
                links.add(entry.split(b"\t", 1)[1])
        patterns = [b"/" + escape_pattern(name) for name in ours if name not in tracked]
        patterns += [b"/" + escape_pattern(name) + b"/" for name in sorted(links)]
        with open(os.path.join(self.agent_dir, "info", "exclude"), "ab") as file:
            file.write(b"".join(pattern + b"\n" for pattern in patterns))
        files = self.states(os.fsdecode(name) for name in kept)
        extras = {"files": files, "links": [os.fsdecode(name) for name in sorted(links)]}
        write_file(os.path.join(self.agent_dir, EXTRAS), json.dumps(extras).encode())
        self.leave_alone(extras)
        return {"files": len(names)}

    def leave_alone(self, extras: Json) -> None:
        """Have git overlook what we put in the place of tracked files and of submodules."""
        tracked = set(self.run("ls-files", "-z", own=False).split(b"\0"))
        names = [os.fsencode(name) for name in list(extras["files"]) + extras["links"]]
        data = b"".join(name + b"\0" for name in names if name in tracked)
        self.run("update-index", "-z", "--skip-worktree", "--stdin", own=False, data=data)

    def job_begin(self, args: Json) -> Json:
        """Make the git folder of our own. The last step before the agent's first command."""
        if os.path.exists(self.own_dir):
            return {}
        temporary = self.own_dir + ".new"
        shutil.rmtree(temporary, ignore_errors=True)
        for name in ("refs/heads", "objects/info", "objects/pack", "info"):
            os.makedirs(os.path.join(temporary, name))
        write_file(os.path.join(temporary, "HEAD"), b"ref: refs/heads/none\n")
        write_file(os.path.join(temporary, "config"), config_for(PRIVATE_CONFIG, args["commit"]))
        for name in ("shallow", "info/exclude", EXTRAS):
            if os.path.exists(os.path.join(self.agent_dir, name)):
                write_file(os.path.join(temporary, name), read_file(os.path.join(self.agent_dir, name)))
        write_file(os.path.join(temporary, "objects/info/alternates"), self.adopt_packs(temporary))
        shutil.copyfile(os.path.join(self.agent_dir, "index"), self.index)
        shutil.copystat(os.path.join(self.agent_dir, "index"), self.index)
        os.rename(temporary, self.own_dir)
        tree = self.run("rev-parse", "--verify", "--end-of-options", args["commit"] + "^{tree}").decode().strip()
        write_file(os.path.join(self.private, "base.json"), json.dumps({"tree": tree}).encode())
        return {"tree": tree}

    def adopt_packs(self, own: str) -> bytes:
        """Take over the objects: by a read-only base where there is one, else by links, else by reference."""
        alternates = []
        known: set[str] = set()
        if self.base_git:
            alternates.append(os.path.join(self.base_git, "objects"))
            known = set(os.listdir(os.path.join(self.base_git, "objects", "pack")))
        packs = os.path.join(self.agent_dir, "objects", "pack")
        for name in sorted(os.listdir(packs)):
            if name in known:
                continue
            source, target = os.path.join(packs, name), os.path.join(own, "objects", "pack", name)
            try:
                os.link(source, target)
            except OSError:
                if os.path.getsize(source) > 64 << 20:
                    alternates.append(os.path.join(self.agent_dir, "objects"))
                    break
                shutil.copyfile(source, target)
        return "".join(line + "\n" for line in alternates).encode()

    def job_restore(self, args: Json) -> Json:
        """Take a snapshot's pack in, and make the files what they were."""
        self.feed("index-pack", "--stdin", "--fix-thin", own=True)
        self.run("read-tree", "--reset", "-u", args["tip"])
        return {}

    # ... at any time

    def job_snapshot(self, args: Json) -> Json:
        """Send a pack with all that differs from the base, as one commit on top of it."""
        base, cap = args["base"], int(args["max_bytes"])
        for name in (self.index + ".lock", self.index + ".new"):
            if os.path.exists(name):
                os.unlink(name)
        if args.get("alone"):
            return self.snapshot_alone(base, cap)
        tree = self.add_all(base)
        notes = tree[1]
        if tree[0] == self.base_tree(base):
            return {"tip": None, "notes": notes}
        tip = self.run("commit-tree", tree[0], "-p", base, data=b"codexteam snapshot\n").decode().strip()
        argv = ("pack-objects", "--thin", "--revs", "--stdout", "-q")
        sent = self.send_pack(argv, (f"{tip}\n^{base}\n").encode(), cap)
        return {"tip": tip, "bytes": sent, "notes": notes}

    def base_tree(self, base: str) -> str:
        try:
            known = json.loads(read_file(os.path.join(self.private, "base.json")).decode())["tree"]
            return str(known)
        except (OSError, ValueError, KeyError):
            return self.run("rev-parse", "--verify", "--end-of-options", base + "^{tree}").decode().strip()

    def add_all(self, base: str) -> tuple[str, list[str]]:
        """Write the workspace as it is as a tree; give it and what could not be taken."""
        if not os.path.exists(self.index):
            self.run("read-tree", base)
        self.notice_changed_extras()
        notes: list[str] = []
        skipped: set[str] = set()
        while True:
            argv = ["add", "-A", "--ignore-errors", "--", "."]
            argv += [":(exclude,literal)" + name for name in sorted(skipped)]
            try:
                done = subprocess.run(
                    ["git", *argv],
                    env=self.environment(own=True),
                    cwd=self.workspace,
                    stdin=subprocess.DEVNULL,
                    stdout=subprocess.DEVNULL,
                    stderr=subprocess.PIPE,
                )
            except FileNotFoundError as error:
                raise Refused("missing", "there is no git in the sandbox; its image must have one") from error
            said = done.stderr.decode("utf-8", "surrogateescape")
            if done.returncode == 0:
                break
            empty = set(re.findall(r"'(.+?)/?' does not have a commit checked out", said)) - skipped
            if not empty:
                if ("index file" in said and "corrupt" in said) or (
                    done.returncode == 128 and "unable to index" not in said
                ):
                    raise Refused("git", f"git add ended with {done.returncode}: {said.strip()[-2000:]}")
                notes.append(said.strip()[-2000:])
                break
            skipped |= empty
            notes.append("repositories without a commit are left out: " + ", ".join(sorted(empty)))
        return self.run("write-tree").decode().strip(), notes

    def notice_changed_extras(self) -> None:
        """A tracked file that we put there counts as a change as soon as the agent wrote to it."""
        path = os.path.join(self.own_dir, EXTRAS)
        if not os.path.exists(path):
            return
        known = json.loads(read_file(path).decode())["files"]
        changed = []
        for name, (mtime_ns, size) in known.items():
            try:
                state = os.lstat(os.path.join(self.workspace, name))
                if [state.st_mtime_ns, state.st_size] != [mtime_ns, size]:
                    changed.append(os.fsencode(name))
            except OSError:
                changed.append(os.fsencode(name))
        if changed:
            self.run(
                "update-index", "-z", "--no-skip-worktree", "--stdin", data=b"".join(name + b"\0" for name in changed)
            )

    def snapshot_alone(self, base: str, cap: int) -> Json:
        """The git data is broken: send everything there is, in a new repository, without leaning on the base."""
        exclude = os.path.join(self.own_dir, "info", "exclude")
        kept = read_file(exclude) if os.path.exists(exclude) else b""
        spare = os.path.join(self.private, f"spare-{os.getpid()}")
        shutil.rmtree(spare, ignore_errors=True)
        for name in ("refs/heads", "objects/info", "objects/pack", "info"):
            os.makedirs(os.path.join(spare, name))
        write_file(os.path.join(spare, "HEAD"), b"ref: refs/heads/none\n")
        write_file(os.path.join(spare, "config"), config_for(PRIVATE_CONFIG, base))
        write_file(os.path.join(spare, "info/exclude"), kept)
        before = self.own_dir, self.index
        self.own_dir, self.index = spare, os.path.join(spare, "index")
        try:
            self.run("read-tree", "--empty")
            tree, notes = self.add_all(base)
            if tree == self.base_tree(base):
                return {"tip": None, "notes": notes}
            who = "codexteam <codexteam@localhost> 1000000000 +0000"
            text = f"tree {tree}\nparent {base}\nauthor {who}\ncommitter {who}\n\ncodexteam snapshot\n"
            argv = ("hash-object", "-t", "commit", "-w", "--stdin", "--literally")
            tip = self.run(*argv, data=text.encode()).decode().strip()
            listed = self.run("ls-tree", "-r", "-t", "-z", tree).split(b"\0")
            ids = [line.split(b" ", 3)[2].split(b"\t")[0] for line in listed if line and not line.startswith(b"160000")]
            names = b"\n".join([tip.encode(), tree.encode(), *sorted(set(ids))]) + b"\n"
            sent = self.send_pack(("pack-objects", "--stdout", "-q"), names, cap)
        finally:
            self.own_dir, self.index = before
            shutil.rmtree(spare, ignore_errors=True)
        notes = [*notes, "the whole tree was taken, because git's data in the sandbox is damaged"]
        return {"tip": tip, "bytes": sent, "notes": notes}

    def send_pack(self, argv: tuple[str, ...], names: bytes, cap: int) -> int:
        listing = os.path.join(self.private, f"names-{os.getpid()}")
        write_file(listing, names)
        sent = 0
        with open(listing, "rb") as file, open(os.path.join(self.private, "said"), "w+b") as said:
            os.unlink(listing)
            process = subprocess.Popen(
                ("git", *argv),
                env=self.environment(own=True),
                cwd=self.workspace,
                stdin=file,
                stdout=subprocess.PIPE,
                stderr=said,
            )
            assert process.stdout is not None
            while True:
                data = process.stdout.read(CHUNK)
                if not data:
                    break
                sent += len(data)
                if sent > cap:
                    process.kill()
                    process.wait()
                    raise Refused("value", f"the work is larger than the {cap} bytes allowed")
                write_all(1, data)
            if process.wait():
                said.seek(0)
                text = said.read().decode("utf-8", "replace").strip()[-2000:]
                raise Refused("git", f"git pack-objects ended with {process.returncode}: {text}")
        return sent


def write_all(descriptor: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(descriptor, view) :]


def escape_pattern(name: bytes) -> bytes:
    """Give a line of an exclude file that means this one path."""
    escaped = re.sub(rb"([\\*?\[\]!#])", rb"\\\1", name)
    return escaped[:-1] + b"\\ " if escaped.endswith(b" ") else escaped


def extract_tar(descriptor: int, root: str, only: str | None) -> list[str]:
    """Unpack files, folders and links of a tar that codexteam wrote; give the names of files and links."""
    import tarfile

    names = []
    with os.fdopen(os.dup(descriptor), "rb") as stream, tarfile.open(fileobj=stream, mode="r|*") as archive:
        for member in archive:
            name = os.path.normpath(member.name)
            parts = name.split("/")
            if name.startswith("/") or ".." in parts or (only is not None and parts[0] != only):
                raise Refused("value", f"the archive holds {member.name!r}")
            path = os.path.join(root, name)
            if member.isdir():
                os.makedirs(path, exist_ok=True)
                continue
            os.makedirs(os.path.dirname(path), exist_ok=True)
            if os.path.lexists(path):
                os.unlink(path)
            if member.issym():
                os.symlink(member.linkname, path)
            elif member.isreg():
                source = archive.extractfile(member)
                assert source is not None
                mode = 0o755 if member.mode & 0o111 else 0o644
                flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW
                with os.fdopen(os.open(path, flags, mode), "wb") as file:
                    shutil.copyfileobj(source, file)
            else:
                continue
            names.append(name)
    return names


def restamp_index(data: bytes, mtime: int) -> tuple[bytes, list[bytes]]:
    """Set the modification time of every entry of a git index (versions 2 and 3); give it and the names."""
    import hashlib

    magic, version, count = struct.unpack(">4sII", data[:12])
    trailer = 32 if len(data) > 32 and hashlib.sha1(data[:-20]).digest() != data[-20:] else 20
    if magic != b"DIRC" or version not in (2, 3) or trailer != 20:
        return data, []  # left as it is: only slower
    out = bytearray(data)
    names = []
    at = 12
    for _ in range(count):
        struct.pack_into(">II", out, at + 8, mtime, 0)
        flags = struct.unpack_from(">H", out, at + 60)[0]
        start = at + (64 if flags & 0x4000 else 62)
        end = data.index(b"\0", start)
        names.append(data[start:end])
        at += (end - at + 8) & ~7
    out[-20:] = hashlib.sha1(bytes(out[:-20])).digest()
    return bytes(out), names


# The loop -------------------------------------------------------------------------------------------------------------


class Server:
    """One loop over the host's frames and the output of everything that runs; nothing in it waits."""

    def __init__(self, settings: Json) -> None:
        self.workspace = Workspace(settings["workspace"])
        self.git = Git(settings["workspace"], settings["private"], settings.get("base_git"))
        self.output_cap = int(settings.get("output_cap_bytes", 16 << 20))
        self.alone = bool(settings.get("alone")) and os.readlink("/proc/self/ns/pid") != MACHINE_PID_NAMESPACE
        self.selector = selectors.DefaultSelector()
        self.running: dict[int, Running] = {}
        self.by_pid: dict[int, Running] = {}
        self.incoming = bytearray()
        self.outgoing: deque[bytes | memoryview] = deque()
        self.outgoing_bytes = 0
        self.writing = False
        self.held_up: set[Running] = set()
        self.reading = True
        self.listening = True
        self.wake_read, self.wake_write = os.pipe()

    def start(self) -> None:
        for descriptor in (0, 1, self.wake_read, self.wake_write):
            os.set_blocking(descriptor, False)
        os.set_inheritable(0, False)  # noqa: FBT003
        os.set_inheritable(1, False)  # noqa: FBT003
        prctl(PR_SET_DUMPABLE, 0)
        if os.getpid() != 1:
            prctl(PR_SET_CHILD_SUBREAPER, 1)
        # a handler, not "ignore": what is ignored stays so in the commands
        for number in range(1, signal.NSIG):
            try:
                signal.signal(number, lambda *_: None)
            except (OSError, ValueError):
                continue
        signal.signal(signal.SIGSEGV, signal.SIG_DFL)
        signal.set_wakeup_fd(self.wake_write, warn_on_full_buffer=False)
        self.selector.register(self.wake_read, selectors.EVENT_READ, "wake")
        self.selector.register(0, selectors.EVENT_READ, "host")
        os.makedirs(self.git.private, exist_ok=True)
        hello = {"kind": "hello", "protocol": PROTOCOL, "pid": os.getpid(), "alone": self.alone, "uid": os.getuid()}
        for line in read_file("/proc/self/status").decode().splitlines():
            name, _, value = line.partition(":")
            if name in ("CapEff", "CapBnd", "NoNewPrivs", "Seccomp"):
                hello[name] = int(value, 16)
        self.send(dict(hello, python=".".join(map(str, sys.version_info[:3]))))

    def loop(self) -> None:
        while self.listening or self.outgoing:
            for key, mask in self.selector.select(self.next_timeout()):
                what = key.data
                if what == "host":
                    if mask & selectors.EVENT_READ:
                        self.read_host()
                elif what == "host-out":
                    self.flush()
                elif what == "wake":
                    os.read(self.wake_read, 4096)
                elif what.number in self.running:
                    if key.fd == what.stdin:
                        self.feed(what)
                    else:
                        self.read_output(what)
            self.reap()
            self.check_deadlines()

    def next_timeout(self) -> float | None:
        times = [run.drain_until or run.deadline or 0.0 for run in self.running.values()]
        times = [when for when in times if when]
        return max(0.0, min(times) - time.monotonic()) if times else None

    # ... the host's side

    def read_host(self) -> None:
        try:
            data = os.read(0, 1 << 20)
        except (BlockingIOError, InterruptedError):
            return
        if not data:
            self.listening = False
            self.selector.unregister(0)
            self.outgoing.clear()
            for run in list(self.running.values()):
                self.kill_tree(run, ended=False)
            return
        self.incoming += data
        while len(self.incoming) >= 8:
            head, body = struct.unpack_from(">II", self.incoming)
            if head > FRAME_LIMIT or body > FRAME_LIMIT:
                raise SystemExit(f"a frame of {head} and {body} bytes")
            if len(self.incoming) < 8 + head + body:
                return
            header = json.loads(self.incoming[8 : 8 + head].decode("ascii"))
            payload = bytes(self.incoming[8 + head : 8 + head + body])
            del self.incoming[: 8 + head + body]
            try:
                self.handle(header, payload)
            except Exception as error:  # whatever it was, the others go on
                self.send(dict(refusal(error, header.get("path", "")), id=header.get("id")))

    def send(self, header: Json, body: bytes = b"") -> None:
        head = json.dumps(header).encode("ascii")
        frame = struct.pack(">II", len(head), len(body)) + head + body
        self.outgoing.append(frame)
        self.outgoing_bytes += len(frame)
        if len(self.outgoing) == 1:
            self.flush()

    def flush(self) -> None:
        while self.outgoing:
            frame = self.outgoing[0]
            try:
                done = os.write(1, frame[: 1 << 20])
            except (BlockingIOError, InterruptedError):
                break
            except OSError:  # the host is gone
                self.outgoing.clear()
                self.outgoing_bytes = 0
                self.listening = False
                break
            self.outgoing_bytes -= done
            if done == len(frame):
                self.outgoing.popleft()
            else:
                self.outgoing[0] = memoryview(frame)[done:]
        if bool(self.outgoing) != self.writing:
            self.writing = not self.writing
            if self.writing:
                self.selector.register(1, selectors.EVENT_WRITE, "host-out")
            else:
                self.selector.unregister(1)
        if self.outgoing_bytes < BACKLOG // 2:
            for run in list(self.held_up):
                self.held_up.discard(run)
                if run.out >= 0:
                    self.selector.register(run.out, selectors.EVENT_READ, run)

    def handle(self, header: Json, body: bytes) -> None:
        what, number = header["op"], header["id"]
        if what == "run":
            self.start_command(number, header, body)
        elif what == "job":
            self.start_job(number, header)
        elif what == "write":
            self.write_stdin(number, header, body)
        elif what == "kill":
            if number in self.running:
                self.kill_tree(self.running[number], ended=False)
        elif what == "read_file":
            data = self.workspace.read(header["path"], header["limit"])
            self.send({"id": number, "kind": "reply", "found": data is not None}, data or b"")
        elif what == "write_file":
            if header["delete"]:
                self.workspace.delete(header["path"])
            else:
                self.workspace.write(header["path"], body, executable=header["executable"])
            self.send({"id": number, "kind": "reply"})
        else:
            raise Refused("internal", f"no such request: {what}")

    # ... commands

    def start_command(self, number: int, header: Json, stdin: bytes) -> None:
        argv = [os.fsencode(word) for word in header["argv"]]
        env = {os.fsencode(name): os.fsencode(value) for name, value in header["env"].items()}
        env[b"CODEXTEAM_COMMAND"] = b"%d" % number
        tty, session = header.get("tty"), header.get("session")
        theirs = []
        ours = -1
        feed = -1
        try:
            if tty:
                ours, terminal = os.openpty()
                theirs.append(terminal)
                fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", 40, 120, 0, 0))
                source = sink = terminal
                feed = os.dup(ours)
            else:
                ours, sink = os.pipe()
                theirs.append(sink)
                source = subprocess.DEVNULL
                if session or stdin:
                    source, feed = os.pipe()
                    theirs.append(source)

            def take_terminal() -> None:
                fcntl.ioctl(0, termios.TIOCSCTTY, 0)

            process = subprocess.Popen(
                argv,
                stdin=source,
                stdout=sink,
                stderr=sink,
                cwd=os.fsencode(header["cwd"]),
                env=env,
                start_new_session=True,
                preexec_fn=take_terminal if tty else None,
            )
        except (OSError, ValueError, subprocess.SubprocessError) as error:
            for descriptor in (ours, feed):
                if descriptor >= 0:
                    os.close(descriptor)
            code = 126 if isinstance(error, PermissionError) else 127
            text = ("codexteam: cannot run {}: {}\n".format(header["argv"][0], error)).encode("utf-8", "replace")
            reply = {"id": number, "kind": "result", "exit_code": code, "signal": None, "timed_out": False}
            self.send(dict(reply, output_bytes=len(text), wall=0.0, over_cap=False, left=0), text)
            return
        finally:
            for descriptor in theirs:
                os.close(descriptor)
        process.returncode = 0  # it is reaped here, not by subprocess
        with contextlib.suppress(OSError):
            # when memory runs out, commands go before this program
            write_file(f"/proc/{process.pid}/oom_score_adj", b"500")
        run = Running(number, header, process.pid)
        self.adopt(run, ours, feed)
        if stdin:
            self.queue(run, stdin)
        if not session:
            run.close_stdin = not tty
            self.feed(run)

    def adopt(self, run: Running, out: int, feed: int) -> None:
        run.out, run.stdin = out, feed
        self.running[run.number] = run
        self.by_pid[run.pid] = run
        os.set_blocking(out, False)
        self.selector.register(out, selectors.EVENT_READ, run)
        if feed >= 0:
            os.set_blocking(feed, False)

    def queue(self, run: Running, data: bytes) -> None:
        run.pending.append(data)
        run.pending_bytes += len(data)
        self.feed(run)

    def write_stdin(self, number: int, header: Json, body: bytes) -> None:
        run = self.running.get(number)
        if run is None or run.stdin < 0:
            return  # it ended meanwhile; its result is on the way
        if run.pending_bytes + len(body) > 64 << 20 and run.job_reply < 0:
            raise Refused("value", "the command does not read its standard input")
        if header.get("eof"):
            run.close_stdin = True
        if body:
            self.queue(run, body)
        else:
            self.feed(run)
        if run.job_reply >= 0 and run.pending_bytes > BACKLOG and self.reading:
            self.reading = False  # a job always reads on or ends
            self.selector.unregister(0)

    def feed(self, run: Running) -> None:
        if run.stdin < 0:
            return
        while run.pending:
            data = run.pending[0]
            try:
                done = os.write(run.stdin, data[:CHUNK])
            except (BlockingIOError, InterruptedError):
                break
            except OSError:
                self.close_stdin(run)
                return
            run.pending_bytes -= done
            if done == len(data):
                run.pending.popleft()
            else:
                run.pending[0] = memoryview(data)[done:]
        registered = run.stdin in self.selector.get_map()
        if run.pending and not registered:
            self.selector.register(run.stdin, selectors.EVENT_WRITE, run)
        elif not run.pending:
            if registered:
                self.selector.unregister(run.stdin)
            if run.close_stdin:
                self.close_stdin(run)
        self.read_on(run)

    def read_on(self, run: Running) -> None:
        if not self.reading and self.listening and run.pending_bytes < BACKLOG // 2:
            self.reading = True
            self.selector.register(0, selectors.EVENT_READ, "host")

    def close_stdin(self, run: Running) -> None:
        if run.stdin in self.selector.get_map():
            self.selector.unregister(run.stdin)
        os.close(run.stdin)
        run.stdin = -1
        run.pending.clear()
        run.pending_bytes = 0
        self.read_on(run)

    def read_output(self, run: Running) -> None:
        for _ in range(16):  # then the others have their turn
            try:
                data = os.read(run.out, CHUNK)
            except (BlockingIOError, InterruptedError):
                break
            except OSError:  # a terminal that nobody holds any more
                data = b""
            if not data:
                self.close_output(run)
                break
            if run.job_reply >= 0:
                self.send({"id": run.number, "kind": "data"}, data)
            else:
                if run.over_cap:
                    continue
                run.output.add(data)
                if run.stream:
                    self.send({"id": run.number, "kind": "data"}, data)
                if run.output.total > self.output_cap:
                    run.over_cap = True
                    self.kill_tree(run, ended=False)
            if self.outgoing_bytes > BACKLOG and (run.stream or run.job_reply >= 0):
                self.held_up.add(run)
                self.selector.unregister(run.out)
                return
        self.finish_if_done(run)

    def close_output(self, run: Running) -> None:
        if run.out < 0:
            return
        if run.out in self.selector.get_map():
            self.selector.unregister(run.out)
        self.held_up.discard(run)
        os.close(run.out)
        run.out = -1

    def reap(self) -> None:
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if pid == 0:
                return
            run = self.by_pid.pop(pid, None)
            if run is None:
                continue
            run.status = status
            run.wall = time.monotonic() - run.started
            run.deadline = None
            run.left = self.kill_tree(run, ended=True)
            run.drain_until = time.monotonic() + DRAIN_SECONDS
            if run.out >= 0 and run not in self.held_up:
                self.read_output(run)
            self.finish_if_done(run)

    def check_deadlines(self) -> None:
        now = time.monotonic()
        for run in list(self.running.values()):
            if run.drain_until is not None and now >= run.drain_until:
                run.drain_until = now + DRAIN_SECONDS
                if run.out >= 0 and run not in self.held_up:
                    # where this program or the host stood still, what was written in time has not been read yet
                    self.read_output(run)
                if run not in self.held_up:
                    self.close_output(run)
                self.finish_if_done(run)
            elif run.deadline is not None and now >= run.deadline:
                run.deadline = now + 1.0  # should something have escaped, once more
                run.timed_out = True
                self.kill_tree(run, ended=False)

    def finish_if_done(self, run: Running) -> None:
        if run.status is None or run.out >= 0 or run.number not in self.running:
            return
        del self.running[run.number]
        if run.stdin >= 0:
            self.close_stdin(run)
        code = os.WEXITSTATUS(run.status) if os.WIFEXITED(run.status) else None
        number = os.WTERMSIG(run.status) if os.WIFSIGNALED(run.status) else None
        if run.job_reply >= 0:
            self.finish_job(run, number)
            return
        ended = {"exit_code": None if run.timed_out or run.over_cap else code, "signal": number}
        reply = {"id": run.number, "kind": "result", "timed_out": run.timed_out, "output_bytes": run.output.total}
        body = b"" if run.session else run.output.value()
        self.send(dict(reply, wall=run.wall, over_cap=run.over_cap, left=run.left, **ended), body)

    # ... killing

    def kill_tree(self, run: Running, *, ended: bool) -> int:
        """Kill all that a command started, wherever it went; give how many there were.

        Whatever outlives its parent becomes a child of this program, so that nothing is out of reach.
        """
        others = [other for other in self.running.values() if other is not run]
        mains = {other.pid for other in others if other.status is None}
        if ended and not set(children_of(os.getpid())) - mains:
            return 0
        killed: set[int] = set()
        for _ in range(64):
            strays = self.strays_of(run, mains, last=not others)
            roots = strays if ended else [run.pid, *strays]
            alive = [pid for pid in tree_of(roots) if process_state(pid)[0] not in ("", "Z", "X")]
            if not alive:
                break
            killed.update(alive)
            if self.alone and not others:
                os.kill(-1, signal.SIGKILL)  # at once, however quickly they multiply
            else:
                for pid in alive:
                    signal_quietly(pid, signal.SIGSTOP)
                for pid in alive:
                    signal_quietly(pid, signal.SIGKILL)
            self.collect_orphans()
        return len(killed)

    def strays_of(self, run: Running, mains: set[int], *, last: bool) -> list[int]:
        found = []
        for pid in children_of(os.getpid()):
            if pid in mains or pid == run.pid:
                continue
            marker = marker_of(pid)
            if (
                marker == run.number
                or process_state(pid)[2] == run.pid
                or (last and marker is None)
                or (marker is not None and marker not in self.running)
            ):
                found.append(pid)
        return found

    def collect_orphans(self) -> None:
        """Bury dead children that are no command; those are for `reap`."""
        for pid in children_of(os.getpid()):
            if pid not in self.by_pid:
                try:
                    os.waitpid(pid, os.WNOHANG)
                except ChildProcessError:
                    continue

    # ... jobs: git, in a child of our own so that commands go on meanwhile

    def start_job(self, number: int, header: Json) -> None:
        method = getattr(self.git, "job_" + header["name"])
        their_in, our_in = os.pipe()
        our_out, their_out = os.pipe()
        our_reply, their_reply = os.pipe()
        try:
            pid = os.fork()
        except OSError:
            for descriptor in (their_in, our_in, our_out, their_out, our_reply, their_reply):
                os.close(descriptor)
            raise
        if pid == 0:
            self.be_job(method, header["args"], their_in, their_out, their_reply)
        for descriptor in (their_in, their_out, their_reply):
            os.close(descriptor)
        run = Running(number, {"timeout": header.get("timeout")}, pid)
        run.job_reply = our_reply
        run.close_stdin = not header.get("input")
        self.adopt(run, our_out, our_in)
        self.feed(run)

    def be_job(self, method: Callable[[Json], Json], args: Json, source: int, sink: int, reply: int) -> None:
        code = 1
        try:
            os.setsid()
            signal.set_wakeup_fd(-1)
            for number in range(1, signal.NSIG):
                try:
                    signal.signal(number, signal.SIG_DFL)
                except (OSError, ValueError):
                    continue
            signal.signal(signal.SIGPIPE, signal.SIG_IGN)
            os.dup2(source, 0)
            os.dup2(sink, 1)
            os.closerange(3, reply)  # its own end of its input among them, which would never end
            os.closerange(reply + 1, 65536)
            try:
                answer = method(args)
            except Exception as error:  # goes to the host as its answer
                answer = refusal(error)
            write_all(reply, json.dumps(answer).encode("ascii"))
            code = 0
        finally:
            os._exit(code)

    def finish_job(self, run: Running, number: int | None) -> None:
        text = b""
        while True:
            data = os.read(run.job_reply, CHUNK)
            if not data:
                break
            text += data
        os.close(run.job_reply)
        if run.timed_out:
            answer = {"kind": "error", "error": "git", "message": "git did not end in time"}
        elif not text:
            answer = {"kind": "error", "error": "git", "message": f"the job was killed by signal {number}"}
        else:
            answer = json.loads(text.decode("ascii"))
        self.send(
            dict({"kind": "reply"}, id=run.number, **answer) if "kind" not in answer else dict(answer, id=run.number)
        )


def main() -> None:
    server = Server(json.loads(sys.argv[1]))
    server.start()
    server.loop()
    if server.alone:
        os.kill(-1, signal.SIGKILL)


if __name__ == "__main__":
    main()
