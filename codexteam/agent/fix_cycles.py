"""Counts how often an agent mends something and its check fails again, from its calls and outputs alone.

The first failure of a check is not a cycle: a test is written before its code. From then on each failure after the workspace
was changed is one, until the check passes. Reading changes nothing. Progress begins the count anew: fewer tests fail than
ever before, or none that has failed before. Who resumes an agent counts the same.
"""

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass, field

from codexteam.agent.loop_detection import Continue, Judgement, Looping
from codexteam.agent.tools.dialects import our_name
from codexteam.agent.tools.tool import PROBLEM_PREFIX
from codexteam.agent.tools.toolbox import ToolCall
from codexteam.core.command_ending import is_test_runner
from codexteam.core.ids import JSONObject
from codexteam.core.runner_reports import failed_tests, read_reports
from codexteam.core.text import clean_line

#: How the tools of ours and of harnesses say that a command has ended, near the beginning of their output.
_ENDED = re.compile(r"(?:Process exited with code |Exit code: |\"exit_code\": ?)(-?[0-9]+)")
_RUNNING = re.compile(r"Process running with session ID ([0-9]+)")
_HEAD_CHARS = 400
_WORDS_CHARS = 200
#: What may stand around a check in a line that runs it: other commands, what starts it, and where its output goes.
_BEFORE = (
    r"(?:^|[;&|(])\s*(?:(?:\w+=\S*|timeout(?: -\S+)* \d\S*|time|env|nice(?: -n ?\d+)?|uv run|poetry run"
    r"|(?:/bin/)?(?:ba|z)?sh -\w*c|['\"])\s*)*"
)
_BEHIND = r"['\"]?\s*(?:$|[;&|)<]|\d?>)"


@dataclass(slots=True)
class FixCycles:
    """Judges turn by turn."""

    checks: tuple[str, ...] = ()
    """The task's acceptance commands; whatever calls a test runner is a check as well."""
    most: int = 5
    """The most cycles of one check."""
    _failing: dict[str, "_Failing"] = field(default_factory=dict)
    """The checks that have failed since they last passed."""
    _sessions: dict[str, str] = field(default_factory=dict)
    """The checks that still run, by their sessions."""

    def after_calls(self, calls: Sequence[ToolCall], outputs: Sequence[JSONObject], workspace: str = "") -> Judgement:
        """Judge a turn with tool calls; `workspace` names the workspace's state before it, the same state by the same name."""
        judgement: Judgement = Continue()
        for failing in self._failing.values():
            if failing.left is None:
                failing.left = workspace
        for call, output in zip(calls, outputs, strict=False):
            text = str(output.get("output", ""))
            check = self._check_of(call)
            if not check:
                if our_name(call.name, ("apply_patch",)) == "apply_patch" and not text.startswith(PROBLEM_PREFIX):
                    for failing in self._failing.values():
                        failing.edited = True
                continue
            found = self._judge(check, text, workspace)
            if found != Continue():
                judgement = found
        return judgement

    def _check_of(self, call: ToolCall) -> str:
        """Return the check that a call runs, or looks in on; empty if it does not."""
        try:
            asked = json.loads(call.arguments)
        except (ValueError, RecursionError):
            return ""
        if not isinstance(asked, dict):
            return ""
        if call.name == "write_stdin":
            return self._sessions.get(str(asked.get("session_id")), "")
        words = asked.get("cmd") or asked.get("command") or ""
        line = " ".join(map(str, words)) if isinstance(words, list) else str(words)
        bare = " ".join(line.split())
        for check in self.checks:
            if re.search(_BEFORE + re.escape(" ".join(check.split())) + _BEHIND, bare):
                return check
        return bare if bare and is_test_runner(line) else ""

    def _judge(self, check: str, text: str, workspace: str) -> Judgement:
        head = text[:_HEAD_CHARS]
        if running := _RUNNING.search(head):
            self._sessions[running[1]] = check
            return Continue()
        ended = _ENDED.search(head)
        if ended is None:
            return Continue()
        if ended[1] == "0":
            self._failing.pop(check, None)
            return Continue()
        known = self._failing.setdefault(check, _Failing(edited=True))
        changed = known.edited or known.left not in {None, workspace}
        known.edited, known.left = False, None
        if not changed:
            return Continue()
        known.cycles = 0 if known.progress(text) else known.cycles + 1
        cycles = known.cycles
        shown = clean_line(check)[:_WORDS_CHARS]
        if cycles >= self.most > 0:
            last = next((line for line in reversed(text.splitlines()) if line.strip()), "")
            why = clean_line(last.strip())[:_WORDS_CHARS]
            return Looping(f"`{shown}` still fails after {_tries(cycles)}: {why}")
        if cycles == self.most - 1 > 0:
            return Continue(
                f"`{shown}` failed again after {_tries(cycles)}; one try is left. Find the cause before you "
                "change anything; if it is beyond your task, answer what fails and why."
            )
        return Continue()


@dataclass(slots=True)
class _Failing:
    """A check that has not passed since it failed."""

    cycles: int = -1
    """How often it failed again after something was changed, without progress."""
    edited: bool = False
    """Whether a patch was made since it failed last."""
    left: str | None = None
    """The workspace's state after the turn in which it failed last; None until that is known."""
    fewest: int | None = None
    """The fewest tests that failed; None if no runner said so yet."""
    names: set[str] = field(default_factory=set)
    """All tests that failed."""

    def progress(self, text: str) -> bool:
        """Take in what it printed; return whether it shows progress."""
        reports = [each for each in read_reports(text) if each.executed and not each.broken]
        count = sum(each.failed for each in reports)
        names = failed_tests(text) or frozenset()
        fewer = bool(reports and count) and self.fewest is not None and count < self.fewest
        others = bool(names and self.names) and self.names.isdisjoint(names)
        if reports and count:
            self.fewest = count if self.fewest is None else min(count, self.fewest)
        self.names |= names
        return fewer or others


def _tries(count: int) -> str:
    return "1 try to mend it" if count == 1 else f"{count} tries to mend it"
