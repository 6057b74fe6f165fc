"""What the user's hooks say before work moves the integration branch."""

import json
from pathlib import Path

import pytest

from codexteam.config.hooks import HookEvent
from codexteam.config.load import load_settings
from codexteam.config.request import LoadRequest
from codexteam.core.ids import CommitId, JSONObject
from codexteam.core.redaction import Redactor
from codexteam.errors import SurroundingsError
from codexteam.ports.hooks import HookOutcome
from codexteam.run.context import RunContext
from codexteam.run.pre_merge import refusal_before_merge
from tests.fakes.fake_repo import FakeRepo
from tests.fakes.run_context import fake_context
from tests.unit.agent.agent_world import RUN

_NEW, _TIP = CommitId("2" * 40), CommitId("1" * 40)


class SaidBefore:
    """Hooks that end as they are told; `asked` is what they were given."""

    def __init__(self, *outcomes: HookOutcome) -> None:
        self.outcomes = outcomes
        self.asked: list[JSONObject] = []

    def has(self, event: HookEvent) -> bool:
        """Only before a merge."""
        return event is HookEvent.PRE_MERGE

    async def run(self, event: HookEvent, fields: JSONObject) -> tuple[HookOutcome, ...]:
        """Note it."""
        assert self.has(event)
        self.asked.append(fields)
        return self.outcomes


def context_of(folder: Path, hooks: SaidBefore) -> RunContext:
    environment = {"CODEX_HOME": str(folder), "HOME": str(folder)}
    settings = load_settings(LoadRequest(folder, environment, system_folder=folder / "none"))
    context = fake_context(RUN, settings, FakeRepo(folder, {"a.py": b"\n"}), folder)
    context.redactor = Redactor(("hunter2-secret",))
    context.hooks = hooks
    return context


async def refusal(folder: Path, *outcomes: HookOutcome) -> str | None:
    return await refusal_before_merge(context_of(folder, SaidBefore(*outcomes)), _NEW, _TIP, "T1.1", {"task": "T1"})


def said(code: int, stdout: str = "", stderr: str = "") -> HookOutcome:
    return HookOutcome("check", code, stdout, stderr)


@pytest.mark.parametrize(
    ("outcome", "reason"),
    [
        (said(1, "out", "no licence header\n"), "no licence header"),
        (said(2, "only this"), "only this"),
        (said(5), "exit code 5"),
        (said(0, json.dumps({"decision": "block", "reason": "not on a Friday"})), "not on a Friday"),
        (said(2, json.dumps({"decision": "block", "reason": "not on a Friday"})), "not on a Friday"),
        (said(1, "", "the password is hunter2-secret"), "the password is "),
    ],
)
async def test_a_hook_refuses_by_its_exit_code_or_decision(tmp_path: Path, outcome: HookOutcome, reason: str) -> None:
    found = await refusal(tmp_path, outcome)
    assert found is not None
    assert found.startswith(f"the PreMerge hook `check` refused it: {reason}")
    assert "hunter2" not in found


@pytest.mark.parametrize("stdout", ["", "all well", "[]", '{"decision": "approve"}', "{" * 10_000])
async def test_a_hook_that_ends_well_lets_the_work_through(tmp_path: Path, stdout: str) -> None:
    assert await refusal(tmp_path, said(0, stdout), said(0)) is None


async def test_one_refusal_among_several_hooks_counts(tmp_path: Path) -> None:
    assert await refusal(tmp_path, said(0), said(1, "", "no")) is not None


@pytest.mark.parametrize(
    ("outcome", "problem"),
    [
        (HookOutcome("check", problem="it did not end within 60 s"), "within 60 s"),
        (said(127, "", "sh: 1: chek: not found"), "it was not found (exit code 127): sh: 1: chek: not found"),
        (said(126), "it cannot be executed"),
    ],
)
async def test_a_hook_without_an_answer_lets_nothing_through(
    tmp_path: Path, outcome: HookOutcome, problem: str
) -> None:
    with pytest.raises(SurroundingsError) as raised:
        await refusal(tmp_path, outcome)
    assert problem in str(raised.value)
    assert "codexteam resume" in raised.value.hint


async def test_what_passed_is_not_asked_again_when_a_merge_is_repeated(tmp_path: Path) -> None:
    hooks = SaidBefore(said(0))
    context = context_of(tmp_path, hooks)
    for _ in range(2):
        assert await refusal_before_merge(context, _NEW, _TIP, "T1.1", {"task": "T1"}) is None
    assert hooks.asked == [{"task": "T1", "commit": _NEW, "onto": _TIP}]
    await refusal_before_merge(context, CommitId("3" * 40), _TIP, "T1.1", {})
    assert len(hooks.asked) == 2


async def test_work_that_changes_nothing_asks_nobody(tmp_path: Path) -> None:
    hooks = SaidBefore(said(1))
    assert await refusal_before_merge(context_of(tmp_path, hooks), _TIP, _TIP, "T1.1", {}) is None
    assert hooks.asked == []
