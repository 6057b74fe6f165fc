"""`codexteam eval`: from a command line to an evaluation, made or continued, and its report."""

import asyncio
import json
import random
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from pathlib import Path

from codexteam.adapters.machine.clock import SystemClock
from codexteam.adapters.suites.reading import read_suite, suite_mark
from codexteam.app.evaluation.evaluate import RECORDS, EvalDisplay, EvalOrder, Evaluation
from codexteam.app.evaluation.grading import TaskGrading
from codexteam.app.evaluation.trial_runs import TrialRuns
from codexteam.app.signals import Signals, allow_open_files, run_guarded_by_signals
from codexteam.config.request import LoadRequest
from codexteam.core.codec import StoredForm, decode, encode_object, stored
from codexteam.core.eval_statistics import Draw
from codexteam.core.eval_task import Arm, ArmKind, EvalSuite
from codexteam.core.eval_trials import TrialRecord
from codexteam.errors import StoreError, SurroundingsError, UsageError
from codexteam.ports.store import Store
from codexteam.report.eval_report import EvalReport, EvalSubject, eval_report

_SUBJECT = ("eval/subject", "subject")
_STOPPED_BY_SIGNAL = 128
_SEED = 20


@stored(StoredForm(tag=""))
@dataclass(frozen=True, slots=True)
class StoredSubject:
    """What an evaluation is of, as its store keeps it."""

    suite: str
    kind: str
    place: str
    mark: str
    tasks: tuple[str, ...]
    left_out: tuple[tuple[str, ...], ...]
    arms: tuple[tuple[str, ...], ...]
    """Name, kind, candidates and options of each."""
    repeats: int
    budget: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class EvalOptions:
    """What `eval` was told."""

    load: LoadRequest
    global_options: tuple[str, ...]
    suite: Path
    folder: Path | None
    """Where the evaluation is kept; None is a folder of the user's state."""
    arms: tuple[Arm, ...]
    repeats: int = 1
    budget: Mapping[str, float] = field(default_factory=dict)
    seconds: float | None = None
    jobs: int = 2
    only: tuple[str, ...] = ()
    most: int | None = None
    repositories: Path | None = None
    test_command: str = ""


@dataclass(frozen=True, slots=True)
class EvalResult:
    """An evaluation, as far as it is."""

    report: EvalReport
    folder: Path
    exit_code: int


def evaluation_folder(environment: Mapping[str, str], suite: str) -> Path:
    """Return where evaluations of a suite are kept where nobody says a place."""
    named = environment.get("XDG_STATE_HOME", "")
    home = Path(environment.get("HOME") or Path("~").expanduser())
    return (Path(named) if Path(named).is_absolute() else home / ".local/state") / "codexteam" / "evaluations" / suite


def chosen_suite(options: EvalOptions) -> EvalSuite:
    """Return the suite with the tasks that are wanted.

    Raises:
        UsageError: there is none, or none of its tasks is wanted.
    """
    suite = read_suite(options.suite, repositories=options.repositories, test_command=options.test_command)
    tasks = [
        task for task in suite.tasks if not options.only or any(fnmatchcase(task.name, glob) for glob in options.only)
    ]
    if not tasks:
        names = ", ".join(task.name for task in suite.tasks[:5])
        raise UsageError(f"--only {' '.join(options.only)}: no task has such a name", hint=f"there are {names}, ...")
    return EvalSuite(suite.name, suite.kind, tuple(tasks[: options.most]), suite.left_out)


def check_arms(arms: tuple[Arm, ...]) -> None:
    """See whether arms can be compared.

    Raises:
        UsageError: two have one name, or the best of several has no team to spend as much as.
    """
    names = [arm.name for arm in arms]
    if len(set(names)) < len(names):
        twice = next(name for name in names if names.count(name) > 1)
        raise UsageError(f"--arm {twice}: two arms have this name", hint="name one: --arm other=team")
    if any(arm.kind is ArmKind.BEST for arm in arms) and not any(arm.kind is ArmKind.TEAM for arm in arms):
        raise UsageError(
            "--arm best-of-N: it spends what the team spends on the same task, and no arm is a team",
            hint="add --arm team",
        )


def evaluate(options: EvalOptions, suite: EvalSuite, display: EvalDisplay) -> EvalResult:
    """Make an evaluation, or continue the one that is in its folder.

    Raises:
        CodexteamError: it cannot begin, or cannot continue.
    """
    check_arms(options.arms)
    folder = (options.folder or evaluation_folder(options.load.environment, suite.name)).absolute()
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise SurroundingsError(
            f"{folder}: it cannot be made: {error.strerror}", hint="name another --output"
        ) from None
    allow_open_files()
    return run_guarded_by_signals(lambda signals: _evaluate(options, suite, folder, display, signals))


async def _evaluate(
    options: EvalOptions, suite: EvalSuite, folder: Path, display: EvalDisplay, signals: Signals
) -> EvalResult:
    from codexteam.adapters.machine.lock import RepositoryLock

    wanted = _subject_of(options, suite)
    clock = SystemClock()
    with RepositoryLock(folder, folder, started="", root=folder):
        async with _opened(folder) as store:
            await _refuse_other(store, wanted, folder)
            await store.put(*_SUBJECT, encode_object(wanted))
            environment = options.load.environment
            runs = TrialRuns(folder, environment, options.global_options, clock.sleep, lambda _text: None)
            order = EvalOrder(suite.tasks, options.arms, options.repeats, options.budget, options.seconds, options.jobs)
            work = Evaluation(order, store, runs, TaskGrading(folder, options.load), display)
            stopped_by = await work.drive(signals)
            report = await _report(store, wanted)
    code = _STOPPED_BY_SIGNAL + stopped_by if stopped_by is not None else 0
    return EvalResult(report, folder, code)


def stored_report(folder: Path) -> EvalResult:
    """Return the report of an evaluation, as far as it is.

    Raises:
        UsageError: there is none in the folder.
    """
    return asyncio.run(_stored_report(folder.absolute()))


async def _stored_report(folder: Path) -> EvalResult:
    from codexteam.adapters.store.sqlite_store import SqliteStore

    if not (folder / "state.sqlite").is_file():
        raise UsageError(f"{folder}: there is no evaluation in it", hint="give the folder that codexteam eval named")
    store = SqliteStore(folder / "state.sqlite", read_only=True)
    try:
        found = await store.get(*_SUBJECT)
        if found is None:
            raise StoreError(f"{folder}: the evaluation in it was never begun", hint="begin it: codexteam eval SUITE")
        return EvalResult(await _report(store, decode(StoredSubject, found, "the evaluation")), folder, 0)
    finally:
        await store.close()


async def _report(store: Store, subject: StoredSubject) -> EvalReport:
    records = [decode(TrialRecord, value, f"the trial {name}") for name, value in await store.list(RECORDS)]
    arms = tuple(Arm(name, ArmKind(kind), int(count), tuple(options)) for name, kind, count, *options in subject.arms)
    left_out = tuple((name, why) for name, why in subject.left_out)
    return eval_report(
        EvalSubject(subject.suite, subject.kind, subject.tasks, left_out, arms, subject.repeats, subject.budget),
        records,
        _drawing,
    )


def _drawing() -> Draw:
    """Return what draws for a bootstrap; the same numbers each time, so that the same records give the same figures."""
    chance = random.Random(_SEED)  # noqa: S311 - not for secrets
    return lambda n: chance.choices(range(n), k=n)


def _subject_of(options: EvalOptions, suite: EvalSuite) -> StoredSubject:
    return StoredSubject(
        suite.name,
        suite.kind,
        str(options.suite.absolute()),
        suite_mark(suite.tasks),
        tuple(task.name for task in suite.tasks),
        suite.left_out,
        tuple((arm.name, arm.kind.value, str(arm.candidates), *arm.options) for arm in options.arms),
        options.repeats,
        options.budget,
    )


async def _refuse_other(store: Store, wanted: StoredSubject, folder: Path) -> None:
    """Refuse to continue an evaluation as another one: more repeats, arms and budget are fine, other tasks are not.

    Raises:
        UsageError: the folder has one of other tasks, or an arm of the same name that worked in another way.
    """
    found = await store.get(*_SUBJECT)
    if found is None:
        return
    known = decode(StoredSubject, found, "the evaluation")
    if known.mark != wanted.mark:
        raise UsageError(
            f"{folder}: the evaluation in it is of other tasks ({known.place})",
            hint="give another folder with --output, or the same suite and selection",
        )
    before = {arm[0]: arm for arm in known.arms}
    for arm in wanted.arms:
        if before.get(arm[0], arm) != arm:
            raise UsageError(
                f"{folder}: arm {arm[0]} was {json.dumps(before[arm[0]][1:])} before",
                hint=f"name it otherwise, such as --arm other={arm[1]}, or give another folder with --output",
            )


@asynccontextmanager
async def _opened(folder: Path) -> AsyncIterator[Store]:
    from codexteam.adapters.store.sqlite_store import SqliteStore

    store = SqliteStore(folder / "state.sqlite")
    try:
        yield store
    finally:
        await store.close()
