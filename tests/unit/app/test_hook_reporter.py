"""Hooks that observe: what they are told, in which order, and what is said of those that fail."""

import asyncio

from codexteam.app.hook_reporter import HookReporter
from codexteam.config.hooks import HookEvent
from codexteam.core.ids import JSONObject
from codexteam.ports.hooks import HookOutcome
from codexteam.ports.reporter import RunEvent


class Observers:
    """Hooks for all events but one, each of which ends as `outcome`."""

    def __init__(self, outcome: HookOutcome | None = None, *, wait: asyncio.Event | None = None) -> None:
        self.told: list[tuple[str, JSONObject]] = []
        self._outcome = outcome or HookOutcome("note", 0)
        self._wait = wait

    def has(self, event: HookEvent) -> bool:
        """Nobody asks for gates."""
        return event is not HookEvent.GATE_FINISHED

    async def run(self, event: HookEvent, fields: JSONObject) -> tuple[HookOutcome, ...]:
        """Note it."""
        if self._wait is not None:
            await self._wait.wait()
        self.told.append((event.value, fields))
        return (self._outcome,)


def told(reporter: HookReporter, *kinds: str, **fields: int) -> None:
    for kind in kinds:
        reporter.report(RunEvent(kind, 0.0, {**fields}))


async def test_hooks_are_told_of_a_run_from_begin_to_end() -> None:
    hooks, said = Observers(), list[str]()
    reporter = HookReporter(hooks, said.append, said.append, resumed=False)
    told(reporter, "run.opened", "run.started")
    told(reporter, "plan.created", tasks=2)
    told(reporter, "task.started", "task.accepted", "task.merged", "gate.completed", "run.finished")
    await reporter.finish()
    assert [name for name, _ in hooks.told] == ["RunStarted", "PlanReady", "TaskStarted", "TaskMerged", "RunFinished"]
    assert hooks.told[0][1] == {"source": "startup"}
    assert said == []


async def test_questions_instead_of_a_plan_are_no_plan() -> None:
    hooks = Observers()
    reporter = HookReporter(hooks, print, print, resumed=False)
    told(reporter, "plan.created", tasks=0)
    await reporter.finish()
    assert hooks.told == []


async def test_a_failing_hook_is_reported_and_others_run() -> None:
    hooks, told_facts, warned = Observers(HookOutcome("note", 3, "", "disk full")), list[str](), list[str]()
    reporter = HookReporter(hooks, told_facts.append, warned.append, resumed=True)
    told(reporter, "run.opened")
    for _ in range(3):
        await asyncio.sleep(0)
    told(reporter, "run.broken_off")
    await reporter.finish()
    assert told_facts == ["the RunStarted hook `note` failed: exit code 3: disk full"]
    assert warned == ["the RunFinished hook `note` failed: exit code 3: disk full"]
    assert hooks.told[0][1] == {"source": "resume"}


async def test_a_runs_end_waits_for_hooks_only_so_long() -> None:
    hooks, said = Observers(wait=asyncio.Event()), list[str]()
    reporter = HookReporter(hooks, said.append, said.append, resumed=False)
    told(reporter, "run.opened", "run.finished")
    await reporter.finish(last_seconds=0.05)
    assert len(said) == 1
    assert "took more than 0.05 s" in said[0]
