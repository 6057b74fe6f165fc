"""The fan-out script through the Codex CLI's own sub-agents: one root, so many children, the same commands and answers.

The root asks for all children at once and waits for them until the last is done. What is measured are the children:
from the first request of the first one to the last answer of the last one, as the model server sees it, and the
processor time of the `codex` process in that time (commands are processes of their own and not counted).
"""

import json
import os
import subprocess
import sys
import tempfile
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks.fanout_load import Load, Measured
from codexteam.core.budget_amounts import Usage
from codexteam.core.ids import JSONObject
from tests.scripted_api import Call, Played, Reply, function_call, message
from tests.scripted_api.server import serve_in_thread

_NAMESPACE = "multi_agent_v1"
_TICKS_A_SECOND = os.sysconf("SC_CLK_TCK")
_PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")


def measure(binary: str, load: Load) -> Measured:
    """Run the script through this native `codex` binary.

    Raises:
        SystemExit: it did not do it.
    """
    script = _Script(load)
    # it refuses to make its home below the temporary folder
    with (
        serve_in_thread(script.play) as api,
        tempfile.TemporaryDirectory(dir=Path.home(), prefix=".codexteam-bench-") as name,
    ):
        home = Path(name)
        with subprocess.Popen(
            _argv(binary, api.base_url, load),
            cwd=home,
            env={"PATH": os.environ["PATH"], "HOME": name, "CODEX_HOME": name},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        ) as process:
            script.pid = process.pid
            _, said = process.communicate(timeout=60 + 20 * load.critical_seconds)
    if script.done < load.agents or script.ended_at is None or script.began_at is None:
        raise SystemExit(f"{script.done} of {load.agents} sub-agents ended. {said[-2000:]}")
    return Measured(
        script.ended_at - script.began_at,
        script.cpu_at_end - script.cpu_at_start,
        script.memory_at_end - script.memory_at_start,
        Usage(),
    )


def _argv(binary: str, base_url: str, load: Load) -> list[str]:
    threads = ("-c", f"agents.max_threads={load.agents + 1}")
    pairs = [*settings_of(base_url), *threads]
    return [binary, "exec", "--skip-git-repo-check", "-m", "bench-model", *pairs, "Spawn the team."]


def settings_of(base_url: str) -> list[str]:
    """Give the options that have `codex` ask this server, and run commands as they are."""
    settings = {
        "model_provider": '"bench"',
        "model_providers.bench": f'{{name="bench",base_url="{base_url}"}}',
        "sandbox_mode": '"danger-full-access"',
        "approval_policy": '"never"',
    }
    return [word for name, value in settings.items() for word in ("-c", f"{name}={value}")]


@dataclass
class _Script:
    """What the model says to the root and to the children; and when."""

    load: Load
    pid: int = 0
    began_at: float | None = None
    ended_at: float | None = None
    done: int = 0
    cpu_at_start: float = 0.0
    cpu_at_end: float = 0.0
    memory_at_start: int = 0
    memory_at_end: int = 0
    lock: threading.Lock = field(default_factory=threading.Lock)

    def play(self, call: Call) -> Played:
        if "x-openai-subagent" in call.headers:
            return self._child(call)
        return self._root(call)

    def _root(self, call: Call) -> Played:
        if not call.outputs:
            spawns = [
                _collaboration("spawn_agent", {"message": f"Do task {number}."}) for number in range(self.load.agents)
            ]
            return Reply(spawns)
        states = [_parsed(item) for item in call.outputs]
        agents = [str(state["agent_id"]) for state in states if "agent_id" in state]
        if len(agents) < self.load.agents:
            sys.exit(f"only {len(agents)} of {self.load.agents} were started: {states[-1]}")
        if self.done < self.load.agents:
            left = agents[self.done :] or agents[-1:]
            return Reply(
                [_collaboration("wait_agent", {"targets": [*left], "timeout_ms": 60_000})], latency_seconds=0.1
            )
        return [message("done")]

    def _child(self, call: Call) -> Played:
        if self.began_at is None:
            self.began_at = time.monotonic()
            self.cpu_at_start, self.memory_at_start = taken(self.pid)
        turn = len(call.outputs)
        if turn < self.load.turns:
            asked = exec_call(call, f"{self.load.line} # step {turn}")
            return Reply([asked], latency_seconds=self.load.turn_seconds)
        self.done += 1
        if self.done == self.load.agents:
            self.ended_at = time.monotonic() + self.load.turn_seconds
            self.cpu_at_end, self.memory_at_end = taken(self.pid)
        return Reply([message({"status": "done"})], latency_seconds=self.load.turn_seconds)


def exec_call(call: Call, line: str) -> JSONObject:
    """Ask for a command by the tool that this version has."""
    tools = call.body.get("tools")
    names = {tool.get("name") for tool in tools if isinstance(tool, dict)} if isinstance(tools, list) else set()
    if "exec_command" in names:
        return function_call("exec_command", {"cmd": line, "login": False})
    return function_call("shell_command", {"command": line, "login": False})


def _collaboration(name: str, arguments: JSONObject) -> JSONObject:
    return {**function_call(name, arguments), "namespace": _NAMESPACE}


def _parsed(item: JSONObject) -> JSONObject:
    try:
        value = json.loads(str(item.get("output", "")))
    except ValueError:
        return {"text": str(item.get("output", ""))}
    return value if isinstance(value, dict) else {"value": value}


def taken(pid: int) -> tuple[float, int]:
    """Give the processor time and the resident memory of a process; its children not counted."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / _TICKS_A_SECOND, int(fields[21]) * _PAGE_BYTES
