"""A sandbox in memory: files in a dictionary, commands answered from a script."""

import asyncio
import base64
import hashlib
import inspect
import json
import pickle
import posixpath
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TypeAlias

from codexteam.config.settings import SandboxMode
from codexteam.core.codec import decode, encode
from codexteam.core.ids import AgentKey
from codexteam.errors import SandboxLost, SandboxUnavailable
from codexteam.ports.environments import Environment, SetupOrder
from codexteam.ports.sandbox import (
    WORKSPACE,
    BaseSource,
    Command,
    CommandResult,
    Remark,
    Sandbox,
    SandboxFacts,
    SandboxSpec,
    Session,
    SessionOutput,
    Snapshot,
)
from codexteam.ports.sandbox_engine import EngineReport

Answer: TypeAlias = CommandResult | Callable[["FakeSandbox", Command], CommandResult | Awaitable[CommandResult]]
"""What a command gives, or a function of the sandbox and the command that gives it."""
File: TypeAlias = bytes | str
"""Content; text is a link's target."""


def ended(exit_code: int = 0, output: bytes | str = b"") -> CommandResult:
    """Give the result of a command that ended by itself."""
    data = output.encode() if isinstance(output, str) else output
    return CommandResult(exit_code, None, timed_out=False, output=data, output_bytes=len(data), wall_seconds=0.0)


def line_of(command: Command) -> str:
    """Give a command as a script names it: the line of `bash -lc line`, else its words."""
    argv = list(command.argv)
    if len(argv) == 3 and argv[0].endswith("sh") and argv[1].startswith("-"):
        return argv[2]
    return " ".join(argv)


@dataclass
class FakeSession:
    """A command that answers at once and then has ended."""

    result: CommandResult
    written: list[bytes] = field(default_factory=list)
    killed: bool = False
    _told: bool = False

    async def read(self, *, wait_seconds: float) -> SessionOutput:
        """Give all of the output once, and the end."""
        await asyncio.sleep(0)
        output = b"" if self._told else self.result.output
        self._told = True
        return SessionOutput(output, len(output), self.result)

    def printed(self) -> bytes:
        """Give what the next look will give."""
        return b"" if self._told else self.result.output

    async def write(self, data: bytes) -> None:
        """Keep what was written."""
        self.written.append(data)

    async def kill(self) -> None:
        """Remember that it was killed."""
        self.killed = True


class FakeSandbox:
    """Keeps files in memory and answers commands from the engine's script. `ran` has every command, in order."""

    def __init__(self, engine: "FakeEngine", spec: SandboxSpec) -> None:
        self._engine = engine
        self.spec = spec
        # the fake repository writes a base as this file writes snapshots; any other base is the engine's files
        archive = spec.base.root_archive
        self.base = _unpack(archive) if archive.name.endswith(".fake.json") else dict(engine.files)
        self.layer = {
            name: data
            for name, data in engine.environments.demand(spec.environment_key).items()
            if name not in self.base
        }
        work = self.base if spec.restore is None else _unpack(spec.restore.pack)
        self.files: dict[str, File] = {**self.layer, **work}
        self.executable: set[str] = set()
        self.ran: list[Command] = []
        self.sessions: list[FakeSession] = []
        self.closed = False
        self.lost = False
        self.loss: type[SandboxLost] = SandboxLost
        """What is raised of one that is lost."""
        self.remarks: tuple[Remark, ...] = ()
        """What the next snapshots say they left out."""

    @property
    def facts(self) -> SandboxFacts:
        """What it is."""
        return SandboxFacts("fake", str(self.spec.agent), "none", self.spec.mode, self.spec.network)

    def lose(self) -> None:
        """Let it go away under its agent."""
        self.lost = True

    async def run(self, command: Command, *, on_output: Callable[[bytes], None] | None = None) -> CommandResult:
        """Answer from the script; a command that is not in it ends with 127."""
        result = await self._answer(command)
        if on_output is not None and result.output:
            on_output(result.output)
        return result

    async def open(self, command: Command, *, on_output: Callable[[bytes], None] | None = None) -> Session:
        """Answer from the script, as a session that ends at once."""
        result = await self._answer(command)
        if on_output is not None:
            on_output(result.output)
        session = FakeSession(result, _told=on_output is not None)
        self.sessions.append(session)
        return session

    async def _answer(self, command: Command) -> CommandResult:
        self._demand_alive()
        self.ran.append(command)
        line = line_of(command)
        answer = self._engine.script.get(line, self._engine.otherwise)
        if answer is None:
            return ended(127, f"fake: the script has no answer for {line!r}\n")
        if isinstance(answer, CommandResult):
            await asyncio.sleep(0)
            return answer
        given = answer(self, command)
        return await given if inspect.isawaitable(given) else given

    async def read_file(self, path: str, *, limit_bytes: int) -> bytes | None:
        """Give a file of the dictionary, links followed."""
        self._demand_alive()
        name = self._resolve(path)
        if any(len(part) > 255 for part in name.split("/")):
            raise ValueError(f"{path}: File name too long")
        data = self.files.get(name)
        if data is None:
            if self._is_folder(name):
                raise ValueError(f"{path} is not a regular file")
            return None
        assert isinstance(data, bytes)
        if len(data) > limit_bytes:
            raise ValueError(f"{path} has {len(data)} bytes, more than the {limit_bytes} allowed")
        return data

    async def write_file(self, path: str, data: bytes | None, *, executable: bool | None = None) -> None:
        """Set a file of the dictionary, links followed."""
        self._demand_alive()
        if self.spec.mode is SandboxMode.READ_ONLY:
            raise PermissionError(f"{path} cannot be written: the sandbox is read-only")
        name = self._resolve(path, follow=data is not None)
        if name == "" or path.endswith("/") or self._is_folder(name):
            raise ValueError(f"{path} names a folder")
        if data is None:
            self.files.pop(name, None)
            return
        self.files[name] = data
        if executable is not None:
            (self.executable.add if executable else self.executable.discard)(name)

    async def snapshot(self, destination: Path) -> Snapshot | None:
        """Write all files into `destination` as JSON; only the fake can read that."""
        self._demand_alive()
        work = {name: data for name, data in self.files.items() if self.layer.get(name) != data}
        if work == self.base:
            return None
        packed = {name: data if isinstance(data, str) else data.hex() for name, data in sorted(work.items())}
        links = sorted(name for name, data in work.items() if isinstance(data, str))
        text = json.dumps({"files": packed, "links": links}).encode()
        destination.write_bytes(text)
        tip = hashlib.sha1(text, usedforsecurity=False).hexdigest()
        return Snapshot(tip, self.spec.base.commit, destination, len(text))

    async def close(self) -> None:
        """Forget it."""
        self.closed = True

    def _demand_alive(self) -> None:
        if self.closed or self.lost:
            raise self.loss(f"the sandbox of {self.spec.agent} is gone")

    def _resolve(self, path: str, *, follow: bool = True) -> str:
        for _ in range(40):
            full = posixpath.normpath(posixpath.join(WORKSPACE, path))
            if full != WORKSPACE and not full.startswith(WORKSPACE + "/"):
                raise ValueError(f"{path} lies outside the workspace")
            name = posixpath.relpath(full, WORKSPACE)
            name = "" if name == "." else name
            target = self.files.get(name)
            if not (follow and isinstance(target, str)):
                return name
            path = posixpath.join(posixpath.dirname(name), target)
        raise ValueError(f"{path} is not a regular file")

    def _is_folder(self, name: str) -> bool:
        return any(other.startswith(name + "/") for other in self.files) or name == ""


def _unpack(pack: Path) -> dict[str, File]:
    packed = json.loads(pack.read_text())
    links = set(packed["links"])
    return {name: data if name in links else bytes.fromhex(data) for name, data in packed["files"].items()}


class FakeSetupSandbox(FakeSandbox):
    """Answers steps from the engine's script, and keeps its files under the order's key."""

    def __init__(self, engine: "FakeEngine", order: SetupOrder) -> None:
        spec = SandboxSpec(
            order.agent,
            order.base,
            SandboxMode.WORKSPACE_WRITE,
            order.network,
            order.limits,
            environment=order.variables,
        )
        super().__init__(engine, spec)
        self.order = order
        self._environments = engine.environments

    @property
    def has_root(self) -> bool:
        """What the fake environments say."""
        return self._environments.has_root

    async def keep(self, made: Environment) -> Environment:
        """Keep what is in no commit, under the order's key."""
        self._demand_alive()
        if self._environments.no_room:
            raise SandboxUnavailable(self._environments.no_room, hint="make room")
        layer = {name: data for name, data in self.files.items() if name not in self.base}
        kept = replace(made, key=self.order.key, size_bytes=sum(len(data) for data in layer.values()))
        self._environments.put(kept, layer)
        return kept


class FakeEnvironments:
    """Environments in memory: what a set-up's files have beyond its base is the layer of later fakes.

    `set_ups` has every set-up's sandbox, `no_room` is why nothing can be kept.
    """

    def __init__(self, engine: "FakeEngine") -> None:
        self._engine = engine
        self.starts_services = True
        self.uses_images = True
        self.has_root = False
        self.no_room = ""
        self.problem = ""
        """Why no set-up can be started."""
        self.kept: dict[str, Environment] = {}
        self.layers: dict[str, dict[str, File]] = {}
        self.set_ups: list[FakeSetupSandbox] = []
        self._used: dict[str, int] = {}
        self._claims: dict[str, asyncio.Lock] = {}

    def put(self, environment: Environment, layer: dict[str, File] | None = None) -> None:
        """Keep one."""
        self.kept[environment.key] = environment
        self.layers[environment.key] = dict(layer or {})
        self._use(environment.key)

    def _use(self, key: str) -> None:
        self._used[key] = max(self._used.values(), default=0) + 1

    async def identity(self, base: BaseSource) -> str:
        """Give the same for every base."""
        return "fake"

    async def find(self, key: str) -> Environment | None:
        """Give it, and mark it as used."""
        found = self.kept.get(key)
        if found is not None:
            self._use(key)
        return found

    @asynccontextmanager
    async def claim(self, key: str) -> AsyncIterator[None]:
        """Wait for whoever builds it."""
        async with self._claims.setdefault(key, asyncio.Lock()):
            yield

    async def set_up(self, order: SetupOrder) -> FakeSetupSandbox:
        """Start a fake whose files are the base's."""
        if self.problem:
            raise SandboxUnavailable(self.problem, hint="ask the test")
        sandbox = FakeSetupSandbox(self._engine, order)
        self.set_ups.append(sandbox)
        return sandbox

    async def pack(self, key: str, destination: Path) -> None:
        """Write it as JSON."""
        if key not in self.kept:
            raise SandboxUnavailable(f"there is no environment {key} to copy", hint="ask the test")
        layer = base64.b64encode(pickle.dumps(self.layers[key])).decode()
        written = {"environment": encode(self.kept[key]), "layer": layer}
        destination.write_text(json.dumps(written))

    async def unpack(self, key: str, source: Path) -> Environment:
        """Read it."""
        written = json.loads(source.read_text())
        environment = decode(Environment, written["environment"], "a copy")
        if environment.key != key:
            raise SandboxUnavailable(f"the copy is not of the environment {key}", hint="ask the test")
        self.put(environment, pickle.loads(base64.b64decode(written["layer"])))
        return environment

    async def list(self) -> Sequence[tuple[Environment, int]]:
        """Give all, last used first; times are numbers that grow."""
        ordered = sorted(self.kept, key=lambda key: self._used[key], reverse=True)
        return [(self.kept[key], self._used[key]) for key in ordered]

    async def remove(self, keys: Sequence[str]) -> Sequence[str]:
        """Forget those that no fake uses and no claim holds."""
        used = {each.spec.environment_key for each in self._engine.started if not each.closed}
        gone = []
        for key in keys:
            claim = self._claims.get(key)
            if key in self.kept and key not in used and not (claim is not None and claim.locked()):
                del self.kept[key], self.layers[key], self._used[key]
                gone.append(key)
        return gone

    def demand(self, key: str) -> dict[str, File]:
        """Give the layer of an environment that must be there; of no key, nothing."""
        if not key:
            return {}
        if key not in self.layers:
            raise SandboxUnavailable(f"there is no environment {key}", hint="build it: `codexteam env build`")
        return self.layers[key]


class FakeEngine:
    """Starts fakes. `script` answers commands by line, `otherwise` the others; `started` has them all."""

    def __init__(
        self,
        files: Mapping[str, File] | None = None,
        script: Mapping[str, Answer] | None = None,
        *,
        otherwise: Answer | None = None,
        problem: str = "",
    ) -> None:
        self.files = dict(files or {})
        self.script: dict[str, Answer] = dict(script or {})
        self.otherwise = otherwise
        self.problem = problem
        self.started: list[FakeSandbox] = []
        self.prepared: list[BaseSource] = []
        self._environments = FakeEnvironments(self)

    @property
    def name(self) -> str:
        """`fake`."""
        return "fake"

    places: int | None = None

    @property
    def environments(self) -> FakeEnvironments:
        """What it keeps."""
        return self._environments

    async def check(self) -> EngineReport:
        """Say what `problem` says."""
        return EngineReport("fake", usable=not self.problem, version="1", problem=self.problem)

    async def prepare(
        self, base: BaseSource, *, environment_key: str = "", on_progress: Callable[[str], None] | None = None
    ) -> None:
        """Remember the base."""
        self._environments.demand(environment_key)
        self.prepared.append(base)

    async def start(self, spec: SandboxSpec) -> Sandbox:
        """Start a fake with the engine's files, or a snapshot's."""
        sandbox = FakeSandbox(self, spec)
        self.started.append(sandbox)
        return sandbox

    async def made_from(self, base: BaseSource) -> str:
        """Say that it is made up."""
        return "nothing: it is a fake"

    async def sweep(self, run_id: str | None, *, keep: Sequence[AgentKey] = ()) -> list[str]:
        """Close what runs and is not kept; give the names."""
        removed = []
        for sandbox in self.started:
            agent = sandbox.spec.agent
            if not sandbox.closed and agent not in keep and run_id in (None, agent.run_id):
                sandbox.closed = True
                removed.append(str(agent))
        return removed

    async def close(self) -> None:
        """Nothing to let go of."""
