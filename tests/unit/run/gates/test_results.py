"""A command runs once on a tree: whoever asks later, or at the same time, gets what came of it."""

import asyncio
from pathlib import Path

from codexteam.core.effects import CheckCandidate
from codexteam.core.events import AcceptanceFailed, CandidateAccepted
from codexteam.core.ids import CommitId, TaskId
from codexteam.core.state import Rules, RunState, TaskPhase, TaskState
from codexteam.errors import HostLost
from codexteam.ports.repo import Identity
from codexteam.ports.sandbox import Command, CommandResult, Sandbox, SandboxSpec
from codexteam.run.context import RunContext
from codexteam.run.gates.ci import baseline, judge_commands
from codexteam.run.gates.results import outcomes_on
from codexteam.run.integrating import check
from tests.fakes.fake_sandbox import FakeEngine, FakeSandbox, ended
from tests.unit.agent.agent_world import RUN
from tests.unit.core.run_world import accepted_by
from tests.unit.run.test_side_by_side import OneRefuses, context_of


class Counting(FakeEngine):
    """Counts what runs; a line that is in `red` fails."""

    def __init__(self) -> None:
        super().__init__(otherwise=self.answer)
        self.ran: list[str] = []
        self.red: set[str] = set()

    async def answer(self, _sandbox: FakeSandbox, command: Command) -> CommandResult:
        line = command.argv[2]
        self.ran.append(line)
        await asyncio.sleep(0)
        return (
            ended(1, "FAILED tests/test_x.py::test_a - assert 1 == 2\n1 failed in 0.01s\n")
            if line in self.red
            else ended(0, "3 passed in 0.01s\n")
        )


async def opened(folder: Path) -> tuple[RunContext, RunState, Counting]:
    engine = Counting()
    context, state = await context_of(folder, OneRefuses(), engine)
    return context, state, engine


async def twin(context: RunContext, commit: CommitId) -> CommitId:
    """Make another commit with the same tree."""
    tree = await context.repo.tree_of(commit)
    return await context.repo.commit(tree, (commit,), "again", Identity("a", "a@x", 1))


async def other(context: RunContext) -> CommitId:
    """Make a commit with a tree of its own."""
    tree = context.repo.tree_with(context.base, {"new.py": b"x\n"})  # type: ignore[attr-defined]  # the fake repository
    return await context.repo.commit(tree, (context.base,), "new", Identity("a", "a@x", 1))


async def test_a_command_runs_once_on_a_tree_whatever_commit_has_it(tmp_path: Path) -> None:
    context, _, engine = await opened(tmp_path)
    commit = await other(context)

    first = await outcomes_on(context, commit, ["pytest"], name="accept.T1.1")
    again = await outcomes_on(context, await twin(context, commit), ["pytest", "ruff"], name="accept.T2.1")

    assert engine.ran == ["pytest", "ruff"]
    assert [outcome.reused for outcome in (*first, *again)] == [False, True, False]
    assert again[0].output == first[0].output
    await outcomes_on(context, context.base, ["pytest"], name="accept.T3.1")
    assert engine.ran == ["pytest", "ruff", "pytest"], "another tree"


async def test_who_asks_for_the_same_at_the_same_time_waits_for_one_run(tmp_path: Path) -> None:
    context, _, engine = await opened(tmp_path)

    await asyncio.gather(*(outcomes_on(context, context.base, ["pytest"], name=f"accept.T{n}.1") for n in range(4)))

    assert engine.ran == ["pytest"]


async def test_a_known_failure_is_another_look_worth_to_who_insists(tmp_path: Path) -> None:
    context, _, engine = await opened(tmp_path)
    engine.red.add("pytest")
    await outcomes_on(context, context.base, ["pytest"], name="accept.T1.1")

    [known] = await outcomes_on(context, context.base, ["pytest"], name="bisect.1.T1")
    assert (known.exit_code, engine.ran) == (1, ["pytest"])
    engine.red.clear()
    [anew] = await outcomes_on(context, context.base, ["pytest"], name="accept.T1.2", again_if_failed=True)
    assert (anew.exit_code, len(engine.ran)) == (0, 2)


async def test_what_did_not_end_by_itself_runs_again(tmp_path: Path) -> None:
    context, _, engine = await opened(tmp_path)
    engine.script["pytest"] = CommandResult(None, None, timed_out=True, output=b"", output_bytes=0, wall_seconds=1.0)
    await outcomes_on(context, context.base, ["pytest"], name="ci.1")
    del engine.script["pytest"]

    [outcome] = await outcomes_on(context, context.base, ["pytest"], name="ci.2")

    assert outcome.ok


async def test_the_baseline_serves_acceptance_and_acceptance_serves_the_gate(tmp_path: Path) -> None:
    context, state, engine = await opened(tmp_path)
    commit = await other(context)
    await baseline(context, context.base, ["pytest"])
    [kept] = await outcomes_on(context, context.base, ["pytest"], name="accept.T1.1")
    await outcomes_on(context, commit, ["pytest"], name="accept.T1.1")

    judged = await judge_commands(context, commit, ["pytest"], state, name="ci.1")

    assert kept.reused
    assert (judged.ran, judged.failures) == (1, ())
    assert engine.ran == ["pytest", "pytest"], "once on the base, once on the merged tree"


async def test_commands_run_on_the_base_at_once_and_each_once(tmp_path: Path) -> None:
    context, _, engine = await opened(tmp_path)
    begun = asyncio.Event()

    async def answer(_sandbox: FakeSandbox, command: Command) -> CommandResult:
        engine.ran.append(command.argv[2])
        if len(engine.ran) == 2:
            begun.set()
        await begun.wait()  # neither ends before both have begun
        return ended(0, "3 passed in 0.01s\n")

    engine.otherwise = answer
    await asyncio.gather(*(baseline(context, context.base, [line]) for line in ("pytest", "ruff", "pytest")))

    assert sorted(engine.ran) == ["pytest", "ruff"]
    names = [(sandbox.spec.agent.task_id, sandbox.spec.agent.attempt) for sandbox in engine.started]
    assert len(set(names)) == 2, "a sandbox each"


def state_of(*names: str) -> RunState:
    known = {
        task.id: TaskState(task, TaskPhase.INTEGRATING, attempt=1, commit=CommitId("c" * 40))
        for task in accepted_by("pytest", *names)
    }
    return RunState(RUN, "goal", Rules(), tasks=known)


async def test_a_candidate_whose_tree_ran_clean_is_not_run_again(tmp_path: Path) -> None:
    context, _, engine = await opened(tmp_path)
    commit = await other(context)
    told: list[tuple[object, object]] = []
    context.report = lambda _, fields: told.append((fields["task"], fields["reused"]))
    first = CheckCandidate(TaskId("T2"), 1, 1, commit, (TaskId("T1"),))

    assert await check(context, first, state_of("T1", "T2")) == CandidateAccepted(TaskId("T2"), 1, 1)
    later = CheckCandidate(TaskId("T2"), 1, 2, await twin(context, commit))
    assert await check(context, later, state_of("T2")) == CandidateAccepted(TaskId("T2"), 1, 2)

    assert engine.ran == ["pytest"]
    assert told == [("T1", False), ("T2", False), ("T2", True)]
    assert {sandbox.spec.agent.attempt for sandbox in engine.started} == {1}


async def test_a_candidate_that_fails_says_what_failed(tmp_path: Path) -> None:
    context, _, engine = await opened(tmp_path)
    engine.red.add("pytest")

    event = await check(context, CheckCandidate(TaskId("T1"), 1, 3, context.base), state_of("T1"))

    assert isinstance(event, AcceptanceFailed)
    assert event.number == 3
    assert "`pytest`: exit code 1" in event.evidence
    assert "1 failed" in event.evidence


async def test_commands_on_a_host_that_dies_run_again_elsewhere(tmp_path: Path) -> None:
    class Dying(Counting):
        async def start(self, spec: SandboxSpec) -> Sandbox:
            sandbox = FakeSandbox(self, spec)
            sandbox.lost, sandbox.loss = len(self.started) < 2, HostLost
            self.started.append(sandbox)
            return sandbox

    engine = Dying()
    context, _ = await context_of(tmp_path, OneRefuses(), engine)
    [outcome] = await outcomes_on(context, await other(context), ["pytest"], name="accept.T1.1")
    assert outcome.ok
    assert engine.ran == ["pytest"]
    assert [sandbox.closed for sandbox in engine.started] == [True] * 3
