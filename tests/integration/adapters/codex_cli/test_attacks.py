"""The attacks of the table, asked for by a model of the user's Codex: its hands are in the sandbox, nothing else is."""

import asyncio
import json
import os
import re
import shlex
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest

from codexteam.adapters.codex_cli.binary import codex_at
from codexteam.adapters.codex_cli.hands import SILENCE_SECONDS
from codexteam.adapters.codex_cli.harness import CodexHarness
from codexteam.adapters.sandbox.bubblewrap.engine import BubblewrapEngine
from codexteam.adapters.sandbox.docker.engine import DockerEngine
from codexteam.config.settings import ModelSettings, NetworkPolicy, SandboxMode, SandboxSettings
from codexteam.core.ids import AgentKey, CallKey, JSONObject, Purpose, RunId
from codexteam.ports.harness import HarnessAgent, HarnessOrder
from codexteam.ports.model import ModelAnswer, ModelRequest
from codexteam.ports.sandbox import Command, Sandbox, SandboxSpec
from codexteam.ports.sandbox_engine import SandboxEngine
from tests.attacks.table import ATTACKS, LIMITS, Attack, by_name
from tests.attacks.witness import SECRET, Witness, witness_in
from tests.conftest import codex_binary
from tests.contract.test_sandbox import SANDBOX_IMAGE
from tests.scripted_api import ScriptedApi, custom_call, function_call
from tests.support_base_source import base_source, make_repository

pytestmark = [pytest.mark.codex, pytest.mark.slow, pytest.mark.timeout(600)]

_KEY = AgentKey(RunId(f"attack-{os.getpid()}"), "implementer", Purpose.IMPLEMENT, "T1", 1)
_SETTINGS = ModelSettings("loopback", "gpt-5.5", effort="low")

#: What only an agent of Codex could try: at the harness and its sign-in.
_HARNESS = (
    Attack(
        "harness-port",
        "tries every port of loopback for the harness's side of its channel",
        """
        open_ports = []
        for port in range(1, 65536):
            with socket.socket() as each:
                if each.connect_ex(("127.0.0.1", port)) == 0 and each.getsockname() != each.getpeername():
                    open_ports.append(port)  # a socket that meets itself is nobody's
        print("BREACH ports %s answer" % open_ports if open_ports else "HELD no port answers")
        """,
    ),
    Attack(
        "harness-sockets",
        "looks for connections that its exec-server has",
        """
        text = open("/proc/net/tcp").read() + open("/proc/net/tcp6").read()
        rows = [line.split() for line in text.splitlines()]
        joined = [row for row in rows if len(row) > 3 and row[3] in ("01", "0A")]  # connected, listening
        print("BREACH there are connections: %s" % joined if joined else "HELD no connection, nobody listens")
        """,
    ),
    Attack(
        "harness-sign-in",
        "reads all that processes and folders inside say of a sign-in",
        """
        said = ""
        for name in glob.glob("/proc/[0-9]*/environ") + glob.glob("/proc/[0-9]*/cmdline"):
            try:
                text = open(name, errors="replace").read()
            except OSError:
                continue
            said += "" if "HELD" in text else text  # not what this one is started with
        for top in ("/root", "/home", "/tmp", "/run", "/opt", os.environ.get("CODEX_HOME", "/nowhere")):
            for folder, _, names in os.walk(top):
                for name in names:
                    path = os.path.join(folder, name)
                    if name in ("auth.json", "config.toml"):
                        said += open(path, errors="replace").read()
        print(said)
        print("HELD %d characters, none of a sign-in" % len(said))
        """,
    ),
)


#: Held; killed by a filter of system calls; or the attack broke the agent's own hands, which are then made anew.
_CONTAINED = ("HELD", "code 159", "signal", "exec-server transport disconnected")

#: Codex gives what a command has printed after at most this long, and lets it run on.
_YIELD_MS = 5_000
#: So often an attack's word, or the end of what it holds, is waited for.
_MOST_WAITS = 24
#: The server inside, and what counts.
_PROCESSES_AT_REST = 5
_RUNNING = re.compile(r"Process running with session ID (\d+)")


@pytest.fixture
async def witness(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Witness]:
    async with witness_in(tmp_path, monkeypatch) as found:
        yield found


def _engine(kind: str, folder: Path) -> SandboxEngine:
    if kind == "bubblewrap":
        return BubblewrapEngine(folder / "state")
    settings = SandboxSettings(image=SANDBOX_IMAGE)
    return DockerEngine(settings, environment=dict(os.environ), owner=str(folder), state_dir=folder)


@dataclass
class Attacker:
    """An agent of Codex whose model calls what it is told to."""

    key: AgentKey
    agent: HarnessAgent
    sandbox: Sandbox
    asked: dict[str, JSONObject]
    """The newest call of each agent."""
    items: list[JSONObject] = field(
        default_factory=lambda: [
            {"type": "message", "role": "user", "content": [{"type": "input_text", "text": "Go."}]}
        ]
    )
    calls: int = 0

    async def outputs_of(self, name: str, arguments: JSONObject | str) -> str:
        """Let it call a tool, and give what it hears of it; text is the input of a freeform tool."""
        self.calls += 1
        call_id = f"call_{self.key.task_id}_{self.calls}"
        if isinstance(arguments, str):
            asked = custom_call(name, arguments, call_id=call_id)
        else:
            asked = function_call(name, arguments, call_id=call_id)
        self.asked[str(self.key.task_id)] = asked
        call = CallKey(self.key, self.calls, self.key.purpose)
        request = ModelRequest(call, _SETTINGS, "", tuple(self.items), (), "cache")
        answer = [event async for event in self.agent.stream(request)][-1]
        assert isinstance(answer, ModelAnswer), (name, arguments, answer)
        outputs = await self.agent.outputs([call_id])
        self.items += [*answer.items, *outputs]
        return json.dumps(outputs)

    async def command(self, cmd: str, yield_ms: int = _YIELD_MS) -> str:
        """Let it run a command."""
        limits: JSONObject = {"yield_time_ms": yield_ms, "max_output_tokens": 20_000}
        return await self.outputs_of("exec_command", {"cmd": cmd, **limits})


@pytest.mark.parametrize(
    "kind",
    [
        pytest.param("bubblewrap", marks=pytest.mark.bubblewrap),
        pytest.param("docker", marks=pytest.mark.docker),
    ],
)
async def test_an_agent_of_the_users_codex_is_contained(kind: str, tmp_path: Path, witness: Witness) -> None:
    # who stops every process inside stops its own hands: below, as that takes its time
    waiting = [attack for attack in (*_HARNESS, *ATTACKS) if attack.ends == "says" and attack.name != "stopped"]
    async with _attackers(kind, tmp_path) as start:
        attacker = await start("T1")
        for attack in waiting:
            said = last = await attacker.command(shlex.join(attack.command(witness).argv))
            for _ in range(_MOST_WAITS):
                has_spoken = any(word in said for word in (*_CONTAINED, "BREACH"))
                # what it holds must not be what stops the next one
                if (running := _RUNNING.search(last)) is None or (has_spoken and not attack.without):
                    break
                wait: JSONObject = {"session_id": int(running[1]), "yield_time_ms": _YIELD_MS}
                last = await attacker.outputs_of("write_stdin", wait)
                said += last
            print(f"{attack.name}: {attack.tries}: {said[-200:]}")
            assert any(word in said for word in _CONTAINED), (attack.name, said)
            assert "BREACH" not in said, (attack.name, said)
            assert witness.breaches(said.encode()) == [], attack.name
        await _patch_the_host(attacker, witness)


async def _patch_the_host(attacker: Attacker, witness: Witness) -> None:
    """Let Codex's own tools be asked for files of the host: it does them itself, and must do them in the sandbox."""

    def patch(path: str) -> str:
        return f"*** Begin Patch\n*** Add File: {path}\n+written\n*** End Patch\n"

    host = str(witness.folder / "patched")
    said = await attacker.outputs_of("apply_patch", patch(host))
    said += await attacker.command(f"apply_patch <<'EOF'\n{patch(host)}EOF\n")
    said += await attacker.outputs_of("view_image", {"path": str(witness.canary)})
    assert witness.breaches(said.encode()) == [], said
    await attacker.outputs_of("apply_patch", patch("patched.txt"))
    assert await attacker.sandbox.read_file("patched.txt", limit_bytes=100) == b"written\n"


@pytest.mark.bubblewrap
async def test_an_agent_that_uses_all_up_is_ended_with_what_it_began(tmp_path: Path, witness: Witness) -> None:
    attacks = [attack for attack in ATTACKS if attack.ends != "says"]

    async def contained(attacker: Attacker, attack: Attack) -> None:
        said = await attacker.command(shlex.join(attack.command(witness).argv), yield_ms=2_000)
        print(f"{attack.name}: {attack.tries}: {said[-200:]}")
        assert len(said) < LIMITS.output_bytes, attack.name
        await attacker.agent.close()
        async with asyncio.timeout(60):
            while not await _at_rest(attacker.sandbox):
                await asyncio.sleep(0.1)

    async def stopped(attacker: Attacker) -> None:
        said = await attacker.command(shlex.join(by_name("stopped").command(witness).argv))
        while (running := _RUNNING.search(said)) is not None:  # Codex need not have heard of it yet
            wait: JSONObject = {"session_id": int(running[1]), "yield_time_ms": _YIELD_MS}
            said = await attacker.outputs_of("write_stdin", wait)
        assert "exec-server transport disconnected" in said, said
        assert "Output:\\nagain" in await attacker.command("echo again"), "its hands were made anew"

    async with _attackers("bubblewrap", tmp_path, silence_seconds=10) as start:
        attackers = [await start(f"T{number}") for number in range(len(attacks) + 1)]
        await asyncio.gather(stopped(attackers[-1]), *map(contained, attackers, attacks))
    assert witness.breaches(b"") == []


@pytest.mark.bubblewrap
async def test_a_patch_of_hundreds_of_files_is_done_whole(tmp_path: Path) -> None:
    names = [f"many/{number % 7}/{number}.txt" for number in range(300)]
    added = "".join(f"*** Add File: {name}\n+{name}\n" for name in names)
    async with _attackers("bubblewrap", tmp_path) as start:
        attacker = await start("T1")
        said = await attacker.outputs_of("apply_patch", f"*** Begin Patch\n{added}*** End Patch\n")
        assert "Success" in said, said
        said = await attacker.command("find many -type f | wc -l; cat many/*/*.txt | sort | uniq | wc -l")
    assert "Output:\\n300\\n300\\n" in said, said


async def _at_rest(sandbox: Sandbox) -> bool:
    """Say whether nothing is left of what ran in a sandbox."""
    counted = await sandbox.run(Command(("sh", "-c", "ls -d /proc/[0-9]* | wc -l"), timeout_seconds=30.0))
    return counted.ok and int(counted.output) <= _PROCESSES_AT_REST


@asynccontextmanager
async def _attackers(
    kind: str, folder: Path, *, silence_seconds: float = SILENCE_SECONDS
) -> AsyncIterator[Callable[[str], Awaitable[Attacker]]]:
    """Have a Codex that is signed in; gives what starts an agent of it in a sandbox of its own."""
    asked: dict[str, JSONObject] = {}
    async with AsyncExitStack() as stack:
        api = await stack.enter_async_context(ScriptedApi(lambda call: [asked[call.task_id or ""]]))
        home = folder / "codex-home"
        home.mkdir()
        provider = (
            f'name = "Loopback"\nbase_url = "{api.base_url}"\nwire_api = "responses"\nrequires_openai_auth = true\n'
        )
        (home / "config.toml").write_text(f"[model_providers.loopback]\n{provider}")
        (home / "auth.json").write_text(json.dumps({"OPENAI_API_KEY": SECRET}))
        binary = codex_at(Path(codex_binary() or ""))
        assert binary is not None
        environment = {"PATH": os.environ["PATH"], "HOME": str(folder), "OPENAI_API_KEY": SECRET}
        harness = CodexHarness(binary, codex_home=home, environment=environment, silence_seconds=silence_seconds)
        stack.push_async_callback(harness.close)
        engine = _engine(kind, folder)
        stack.push_async_callback(engine.close)
        make_repository(folder / "repository", {"a.txt": b"one\n"})
        base = base_source(folder / "repository", folder / "base")

        async def start(task: str) -> Attacker:
            key = replace(_KEY, task_id=task)
            mode = SandboxMode.WORKSPACE_WRITE
            spec = SandboxSpec(key, base, mode, NetworkPolicy(), LIMITS, programs=harness.folder)
            sandbox = await engine.start(spec)
            stack.push_async_callback(sandbox.close)

            async def enter() -> Sandbox:
                return sandbox

            agent = harness.agent(HarnessOrder(key, _SETTINGS, enter, metadata={"task_id": task}))
            stack.push_async_callback(agent.close)
            return Attacker(key, agent, sandbox, asked)

        yield start
