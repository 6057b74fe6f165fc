"""Several attempts at one task: QA's tests that none of them sees, what judges each one's work, and who chooses at last.

Which attempt is taken, and when, is decided in `core.best_of`.
"""

from string import ascii_uppercase

from codexteam.core.answers import AttemptChoice, HiddenTestsReport
from codexteam.core.budget_scope import BudgetScope
from codexteam.core.contest import Contender, Trial, UnseenTests
from codexteam.core.effects import JudgeAttempts, TryAttempt, WriteHiddenTests
from codexteam.core.events import AttemptsJudged, AttemptTried, Event, HiddenTestsWritten
from codexteam.core.findings import Severity
from codexteam.core.ids import CommitId, GateName, JSONObject, Purpose
from codexteam.core.merge_train import acceptance_commands
from codexteam.core.plan_graph import Task
from codexteam.core.plan_md_task import render_task
from codexteam.core.scan_hits import scan_findings
from codexteam.core.state import RunState
from codexteam.core.text import clean_line
from codexteam.core.work_size import WorkSize
from codexteam.run import prompts
from codexteam.run.assignment import AgentAnswer, AgentFailure, Assignment
from codexteam.run.code_search import map_for
from codexteam.run.command_outcome import CommandOutcome, evidence_of
from codexteam.run.context import JUDGE, RunContext, refused, work_name
from codexteam.run.gates.diffs import WORK_SIZES
from codexteam.run.gates.qa import take_tests
from codexteam.run.gates.results import outcomes_on
from codexteam.run.gates.scan import scanned_since
from codexteam.run.model_choice import judge_model

#: What a judge gets to see of one change.
_DIFF_BYTES = 48_000


async def write_tests(context: RunContext, effect: WriteHiddenTests, state: RunState) -> Event:
    """Let QA write tests of a task from what it says; without any, the others judge alone."""
    task = state.tasks[effect.task_id].task
    key = context.key(Purpose.HIDDEN_TESTS, task_id=task.id, attempt=effect.number)
    about = "\n".join(render_task(task))
    prompt = prompts.hidden_tests(
        state.goal,
        task,
        code_map=await map_for(context, key, effect.base, about, within=task.paths),
        repositories=context.repositories,
        notes=await context.notes.given(work_name(key), about),
    )
    assignment = Assignment(
        key, effect.base, prompt, HiddenTestsReport, standing=JUDGE, budget=task.budget, writes=True
    )
    match await context.agents.run(assignment):
        case AgentFailure(budget_scope=BudgetScope()) as report:
            return refused(effect, report)
        case AgentFailure() as report:
            why = await context.keep_unanswered(key, report)
            return _written(effect, UnseenTests(note=f"QA wrote none: {why}"))
        case AgentAnswer(answer, snapshot, remarks=remarks):
            context.report_left_out(key, remarks)
            command = clean_line(answer.command).strip()
            if snapshot is None or not command:
                return _written(effect, UnseenTests(note=f"QA wrote none: {clean_line(answer.summary)}"))
            await context.keep_snapshot(key, snapshot)
            taken = await take_tests(
                context, effect.base, snapshot, name=work_name(key), number=effect.number, task_id=task.id
            )
            if taken.commit is None:
                why = taken.refused[0].detail if taken.refused else "no file of them is a test"
                return _written(effect, UnseenTests(note=f"QA's tests were not taken: {why}"))
            paths = tuple(path.decode("utf-8", "surrogateescape") for path in taken.paths)
            return _written(effect, UnseenTests(taken.commit, paths, command, clean_line(answer.summary)))


def _written(effect: WriteHiddenTests, tests: UnseenTests) -> HiddenTestsWritten:
    return HiddenTestsWritten(effect.task_id, effect.number, tests)


async def try_attempt(context: RunContext, effect: TryAttempt, state: RunState) -> Event:
    """Run acceptance, hidden tests and scan on what one attempt handed in; its size is known from then."""
    task = state.tasks[effect.task_id].task
    what = f"{task.id}.{effect.attempt}"
    commit = effect.commit or effect.base
    accepted = await _run(context, commit, acceptance_commands(task), name=f"try.{what}")
    for outcome in accepted:
        fields: JSONObject = {"task": task.id, "attempt": effect.attempt, "commit": commit}
        context.report("acceptance.checked", {**fields, **outcome.as_fields()})
    failing = [outcome for outcome in accepted if _failed(outcome)]
    hidden = await _hidden(context, effect, task, commit, what=what)
    failed_tests = sum(max(1, len(outcome.failed_tests or ())) for outcome in hidden)
    hits, hit_lines = await _hits(context, effect, commit, state)
    size = await context.recall(WORK_SIZES, what, WorkSize) if effect.commit else None
    # what the hidden tests say is not shown: the next attempt would be written for them
    evidence = "\n\n".join(filter(None, (evidence_of(failing), hit_lines)))
    trial = Trial(
        tuple(outcome.command for outcome in failing),
        failed_tests,
        hits,
        size.lines if size is not None else 0,
        evidence,
    )
    return AttemptTried(effect.task_id, effect.attempt, trial)


async def _hidden(
    context: RunContext, effect: TryAttempt, task: Task, commit: CommitId, *, what: str
) -> list[CommandOutcome]:
    """Run the hidden tests on a commit, and return what failed."""
    tests = effect.tests
    if tests.commit is None or not tests.command:
        return []
    paths = [path.encode("utf-8", "surrogateescape") for path in tests.paths]
    tree = await context.repo.overlay(commit, tests.commit, paths)
    author = await context.author(GateName.QA.value, f"hidden.{what}")
    message = context.message(f"Hold {what} against hidden tests", "", role=GateName.QA.value, task_id=task.id)
    held = await context.repo.commit(tree, (commit,), message, author)
    return [each for each in await _run(context, held, (tests.command,), name=f"hidden.{what}") if _failed(each)]


async def _hits(context: RunContext, effect: TryAttempt, commit: CommitId, state: RunState) -> tuple[int, str]:
    """Return how many hits of a scan would have to be fixed, and list them; a scan that did not end counts as one."""
    if GateName.SCAN not in state.rules.gates or effect.commit is None:
        return 0, ""
    found = await scanned_since(context, effect.base, commit)
    if found.failure:
        return 1, f"Nothing is known of its weaknesses: {found.failure}"
    findings = scan_findings(found.hits, context.settings.team.gates.scan.block_at)
    bad = [finding for finding in findings if finding.severity is Severity.MUST_FIX]
    lines = "\n".join(f"- {finding.file}:{finding.line}: {finding.title}" for finding in bad)
    return len(bad), f"A scan found:\n{lines}" if bad else ""


async def _run(context: RunContext, commit: CommitId, commands: tuple[str, ...], *, name: str) -> list[CommandOutcome]:
    team = context.settings.team
    seconds = min(team.limits.command_seconds, team.gates.timeout_seconds)
    return await outcomes_on(context, commit, commands, name=name, timeout_seconds=seconds)


def _failed(outcome: CommandOutcome) -> bool:
    return not outcome.ok or outcome.did_not_run


async def judge(context: RunContext, effect: JudgeAttempts, state: RunState) -> Event:
    """Let a model that made none of them choose among changes that nothing else tells apart."""
    known = state.tasks[effect.task_id]
    task = known.task
    by_letter = dict(zip(ascii_uppercase, effect.contenders, strict=False))
    changes = [(letter, *await _shown(context, effect, each)) for letter, each in by_letter.items()]
    key = context.key(Purpose.JUDGE, task_id=task.id, attempt=effect.number)
    assignment = Assignment(
        key,
        effect.base,
        prompts.judge(state.goal, task, changes),
        AttemptChoice,
        standing=JUDGE,
        budget=task.budget,
        model=judge_model(context, known, effect.contenders),
        chosen_by="[codexteam.best_of]",
    )
    match await context.agents.run(assignment):
        case AgentFailure(budget_scope=BudgetScope()) as report:
            return refused(effect, report)
        case AgentFailure(reason=reason):
            return AttemptsJudged(effect.task_id, effect.number, 0, reason)
        case AgentAnswer(answer=AttemptChoice(choice, reason)):
            chosen = by_letter.get(choice.strip().strip(".)").upper()[-1:])
            why = clean_line(reason) if chosen else f"it chose {clean_line(choice)!r}, which is none of them"
            return AttemptsJudged(effect.task_id, effect.number, chosen.attempt if chosen else 0, why)


async def _shown(context: RunContext, effect: JudgeAttempts, contender: Contender) -> tuple[str, str]:
    seen = contender.trial.words if contender.trial is not None else ""
    if contender.commit is None:
        return seen, "It says that nothing has to be changed."
    text, cut = await context.repo.diff_text(effect.base, contender.commit, limit_bytes=_DIFF_BYTES)
    return seen, f"{text}\n[the rest is left out]" if cut else text
