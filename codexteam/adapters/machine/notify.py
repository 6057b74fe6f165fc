"""Runs the user's `notify` program as Codex does: detached, not waited for, with one more argument that is JSON.

The argument has Codex's fields, and its `type` is always `agent-turn-complete`: the one that programs written for Codex
look for. `last-assistant-message` says in words what happened, or is the answer where the goal was a question; the object
`codexteam` says it for programs.
"""

import json
import subprocess
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from codexteam.core.ids import JSONObject, JSONValue
from codexteam.report.notices import Notice, shortened


class NotifyProgram:
    """The program of the key `notify`."""

    def __init__(
        self,
        program: Sequence[str],
        *,
        run_id: str,
        goal: str,
        folder: Path,
        environment: Mapping[str, str],
        warn: Callable[[str], None],
    ) -> None:
        """Take the program with its own arguments; `warn` is called once if it cannot be started."""
        self._program = tuple(program)
        self._run_id = run_id
        self._goal = goal
        self._folder = folder
        self._environment = environment
        self._warn = warn
        self._started: list[subprocess.Popen[bytes]] = []
        self._has_failed = False

    def tell(self, notice: Notice) -> None:
        """Start the program."""
        self._started = [process for process in self._started if process.poll() is None]
        number = sum(1 for _ in self._started) + 1
        ours: JSONObject = {"event": notice.name, "run": self._run_id, **notice.fields}
        asked: list[JSONValue] = [shortened(self._goal)]
        argument: JSONObject = {
            "type": "agent-turn-complete",
            "thread-id": self._run_id,
            "turn-id": f"{self._run_id}.{notice.name}.{number}",
            "cwd": str(self._folder),
            "client": "codexteam",
            "input-messages": asked,
            "last-assistant-message": notice.text,
            "codexteam": ours,
        }
        try:
            process = subprocess.Popen(
                [*self._program, json.dumps(argument)],
                cwd=self._folder,
                env=dict(self._environment),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                start_new_session=True,  # a Ctrl-C is ours alone
            )
        except (OSError, ValueError) as error:
            if not self._has_failed:
                self._warn(f"notify: {self._program[0]} cannot be started: {error}")
            self._has_failed = True
            return
        self._started.append(process)

    def close(self) -> None:
        """Leave what was started to itself, as Codex does."""
        for process in self._started:
            if process.poll() is None:
                process.returncode = 0  # it is init's from here on: nobody waits for it
