"""A sandbox: what confines the commands of one agent, with that agent's workspace inside.

Everything that comes out of one is hostile bytes. No key, no engine socket and no writable host path is ever inside.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from codexteam.config.settings import NetworkPolicy, SandboxLimits, SandboxMode
from codexteam.core.codec import StoredForm, stored
from codexteam.core.ids import AgentKey, CommitId

#: Where the workspace is, in every sandbox.
WORKSPACE = "/work"
#: Where the workspace of a run in several repositories is too, read-only: `/repos/NAME`.
REPOSITORIES = "/repos"
#: Where `SandboxSpec.programs` is.
PROGRAMS = "/run/codexteam/programs"


@dataclass(frozen=True, slots=True)
class BaseSource:
    """The state of the repository that a workspace starts from. Made by `Repo.base_source`; files that we wrote."""

    root_commit: CommitId
    """The commit that `root_archive` holds; the same for many workspaces of a run."""
    root_archive: Path
    """A tar of a `.git` folder with that commit (objects in one pack, shallow, no remotes, no hooks) and of nothing
    else; the sandbox checks the files out itself."""
    commit: CommitId
    """The commit that the workspace shall show."""
    delta_pack: Path | None = None
    """A thin pack with what `commit` has beyond `root_commit`; None when they are the same."""
    extra_files: Path | None = None
    """A tar of files that git does not track or stores elsewhere (ignored files asked for, LFS, submodules)."""
    tree: str = ""
    """The tree of `commit`, where it is known without asking git."""


@stored(StoredForm(tag=""))
@dataclass(frozen=True, slots=True)
class Snapshot:
    """A workspace's work so far, taken out as a pack: objects beyond the base, one tip commit on top of it.

    Hostile bytes: written to a file, never opened by host git outside a quarantine. Put into a new sandbox it gives
    the same workspace again.
    """

    tip: str
    base: CommitId
    pack: Path
    pack_bytes: int


@stored(StoredForm(as_list=True))
@dataclass(frozen=True, slots=True)
class Remark:
    """Something that a workspace has and a snapshot of it has not, or not as it is there."""

    path: str
    """As the sandbox gave it: foreign text."""
    why: str
    """Foreign text too."""

    def __str__(self) -> str:
        return f"{self.path}: {self.why}"


@stored(StoredForm(tag="", flat=("snapshot",), optional=("remarks",)))
@dataclass(frozen=True, slots=True)
class WorkspaceState:
    """A workspace as it was after a turn: what was taken out of it, and what was not."""

    snapshot: Snapshot | None = None
    """None when nothing was written so far."""
    remarks: tuple[Remark, ...] = ()


@dataclass(frozen=True, slots=True)
class SandboxSpec:
    """What to start."""

    agent: AgentKey
    """Names and labels are computed from this."""
    base: BaseSource
    mode: SandboxMode
    network: NetworkPolicy
    limits: SandboxLimits
    environment: Mapping[str, str] = field(default_factory=dict)
    """Set for every command, over what `environment_key` sets; nothing else of the host's environment is."""
    restore: Snapshot | None = None
    """Work to put in place before the first command."""
    paths: tuple[str, ...] = ()
    """Globs of what is to be written: what they name is taken out also where git ignores it."""
    programs: Path | None = None
    """A folder of the host with programs that we start inside; read-only, at `PROGRAMS`."""
    repositories: bool = False
    """Whether the workspace's folders are repositories, and are to be at `REPOSITORIES` too; in pods they always are."""
    environment_key: str = ""
    """The environment that commands find in place, of those that the engine keeps; empty: none."""


@dataclass(frozen=True, slots=True)
class Command:
    """One command. `argv` is run as it is; a shell line is `("bash", "-lc", line)`."""

    argv: Sequence[str]
    cwd: str = WORKSPACE
    """Absolute, inside the sandbox."""
    environment: Mapping[str, str] = field(default_factory=dict)
    stdin: bytes = b""
    timeout_seconds: float = 600.0
    output_limit_bytes: int = 1 << 20
    """Of more than this the head and the tail are kept."""
    tty: bool = False


@dataclass(frozen=True, slots=True)
class CommandResult:
    """How a command ended: by itself (`exit_code`), by a signal, by its deadline, or unknown (all None and false)."""

    exit_code: int | None
    signal: int | None
    timed_out: bool
    output: bytes
    """Standard output and error as they came, at most the limit; a marker stands where bytes were left out."""
    output_bytes: int
    """All that was printed, also what is not in `output`."""
    wall_seconds: float
    killed_for_output: bool = False
    note: str = ""
    """What the output does not say: what it left running was ended, the sandbox was started again, ..."""

    @property
    def ok(self) -> bool:
        """Whether it ended by itself with 0."""
        return self.exit_code == 0 and not self.timed_out


@dataclass(frozen=True, slots=True)
class SessionOutput:
    """What an interactive command printed since the last look, and how it ended if it did."""

    output: bytes
    output_bytes: int
    result: CommandResult | None
    """None while it runs."""


class Session(Protocol):
    """A command that outlives one tool call."""

    async def read(self, *, wait_seconds: float) -> SessionOutput:
        """Return what was printed since the last read; wait at most `wait_seconds`, less when the command ends."""
        ...

    def printed(self) -> bytes:
        """Return what the next `read` will give of what was printed so far, and leave it there."""
        ...

    async def write(self, data: bytes) -> None:
        """Write to its terminal; nothing happens without one, where its standard input has ended."""
        ...

    async def kill(self) -> None:
        """Kill its whole process tree; nothing happens when it has ended."""
        ...


@dataclass(frozen=True, slots=True)
class SandboxFacts:
    """What a sandbox really is, for the receipt."""

    engine: str
    """`docker`, `bubblewrap` or the fake's name."""
    name: str
    """The container's name, or what stands for it."""
    image: str
    mode: SandboxMode
    network: NetworkPolicy
    unlimited: tuple[str, ...] = ()
    """What this kind cannot limit on this machine: `memory`, `processes`, `disk`, `cpu`, ..."""
    runtime: str = ""
    """What runs its container, as the engine says; empty where there is no container."""
    host: str = ""
    """The host of the pool that it is on; empty where none is configured."""


class Sandbox(Protocol):
    """One running sandbox. Owned by the one who started it, who closes it."""

    @property
    def facts(self) -> SandboxFacts:
        """What it is."""
        ...

    @property
    def remarks(self) -> tuple[Remark, ...]:
        """What the last snapshot left out or changed; foreign text."""
        ...

    async def run(self, command: Command, *, on_output: Callable[[bytes], None] | None = None) -> CommandResult:
        """Run a command to its end; several may run at once. Cancelling kills its process tree.

        Raises:
            SandboxLost: the sandbox went away.
        """
        ...

    async def open(self, command: Command, *, on_output: Callable[[bytes], None] | None = None) -> Session:
        """Start a command that is looked at later, and talked to when it has a terminal.

        Without one its standard input ends behind `stdin`. It ends with the sandbox at the latest.

        With `on_output` it is talked to in any case, as one program with another: that gets everything as it comes,
        without an end to how much, and `read` gives none of it.
        """
        ...

    async def read_file(self, path: str, *, limit_bytes: int) -> bytes | None:
        """Return a regular file's bytes; None when there is none. `path` is relative to the workspace or absolute.

        Raises:
            ValueError: it is larger than the limit, no regular file, lies outside the workspace, links followed, or
                cannot be read.
        """
        ...

    async def write_file(self, path: str, data: bytes | None, *, executable: bool | None = None) -> None:
        """Write a file whole, folders included; `None` deletes it. `executable` None keeps the mode it had.

        Raises:
            ValueError: the path lies outside the workspace, links followed, or names a folder.
            PermissionError: the sandbox is read-only.
            OSError: the system inside does not take it; says of which file, and has no `filename`.
        """
        ...

    async def snapshot(self, destination: Path) -> Snapshot | None:
        """Take the work out into `destination`, a file.

        All changes against the base are in it, untracked files included; None when nothing differs from the base. What
        git ignores is left out, unless `SandboxSpec.paths` name it or the agent added it by force; `remarks` say what
        else was. The agent's own index and branches are not changed.

        Raises:
            SandboxLost: the sandbox went away.
            ValueError: the pack is larger than the sandbox's limits allow, or the sandbox's own disk does not take it.
            OSError: the host's disk cannot take the file; the sandbox continues.
        """
        ...

    async def close(self) -> None:
        """Remove it with all that is in it. May be repeated."""
        ...
