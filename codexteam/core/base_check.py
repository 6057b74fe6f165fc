"""What the base commit's own commands say before anybody is paid to change it, and what follows.

A command that cannot run on the base commit says nothing of the work either: the run stops before an implementer
starts, or asks. What *fails* there runs, and is remembered. An acceptance command may well not run yet, because what it
wants is its task's to make; that is told apart here from one that never can.
"""

import re
import shlex
from collections.abc import Collection, Iterable, Sequence
from dataclasses import replace

from codexteam.core.command_ending import Cause, CommandEnding, Ending
from codexteam.core.effects import CheckBase, Result
from codexteam.core.events import Answered, BaseCheck, BaseChecked
from codexteam.core.file_kinds import is_test_file
from codexteam.core.findings import Category, Finding, Severity
from codexteam.core.ids import GateName
from codexteam.core.paths import scopes_overlap
from codexteam.core.plan_graph import Acceptance
from codexteam.core.state import TERMINAL, RunPhase, RunState, TaskState
from codexteam.core.text import clean_line, count_of
from codexteam.core.transition import Transition

#: The item of the inbox that asks what to do about commands that cannot run.
CANNOT_RUN_ITEM = "baseline"

#: The item that asks whether to build on a base whose own checks fail.
RED_BASE_ITEM = "red-base"

#: The answer that has them run once more.
AGAIN = "again"

#: The answer that continues without the commands that cannot run.
WITHOUT = "without"

#: Names of failing tests that are shown of a command.
SHOWN_TESTS = 5

#: Why a run is not green whose gates found nothing.
NOTHING_CHECKED = (
    "finished, nothing checked it: no gate command ran; set commands in [codexteam.gates], or "
    "allow_unchecked = true there"
)

_TODO = {
    Cause.PROGRAM: "install it in the image or on the host that sandboxes are made from",
    Cause.MODULE: "have [codexteam.sandbox] setup install the project's dependencies, or name an image that has them",
    Cause.SCRIPT: "correct the command, or define what it calls",
    Cause.USAGE: "correct its options or its configuration; an unknown option often means a plugin that is not installed",
    Cause.COLLECTION: "make the tests load: dependencies that are not installed are the usual cause",
    Cause.TOOLCHAIN: "install the version that is asked for, or name an image that has it in [codexteam.sandbox]",
    Cause.NATIVE: "install the compiler, header or library in the image or on the host that sandboxes are made from",
    Cause.NETWORK: "have [codexteam.sandbox] setup fetch what it wants; commands run without network",
    Cause.SERVICE: "give it the server that it wants, or a command that needs none",
    Cause.PATH: "correct the path that it names",
    Cause.DISK: "make room, or give it a place that it may write to",
}


def needs(state: RunState) -> tuple[str, ...]:
    """Return the acceptance commands of tasks that are not over and that have not been run on the base commit, best first."""
    tasks = [known for known in state.tasks.values() if known.phase not in TERMINAL]
    waiting = [known for known in tasks if any(each not in state.base_checks for each in acceptance_commands(known))]
    if state.rules.decisions >= 6:
        waiting.sort(key=lambda known: state.graph.priority(known.task.id))
    commands = dict.fromkeys(command for known in waiting for command in acceptance_commands(known))
    return tuple(command for command in commands if command not in state.base_checks)


def planned_globs(state: RunState) -> tuple[str, ...]:
    """Return the globs of all that the plan's tasks write; a task that names none may write anywhere."""
    return tuple(path for known in state.tasks.values() for path in (known.task.paths or ("**",)))


def acceptance_commands(known: TaskState) -> tuple[str, ...]:
    """Return a task's acceptance commands, each once."""
    return tuple(dict.fromkeys(accept.command for accept in known.task.acceptance if accept.command))


def next_checks(state: RunState, free: int) -> list[CheckBase]:
    """Return what is to be run on the base commit now, in as many sandboxes as are free.

    The gate commands go first: they show in which environment commands run. Each acceptance command is a check of its
    own after that, those first whose tasks go first, so that a task waits for nobody else's commands.
    """
    if not state.rules.check_base or state.base is None:
        return []
    running = [effect for effect in state.in_flight.values() if isinstance(effect, CheckBase)]
    commands = needs(state) if state.phase is RunPhase.WORKING else ()
    number = max([state.base_rounds, *(check.number for check in running)]) + 1
    if state.rules.decisions < 6:
        wanted = not running and (commands or not state.gates_known)
        return [CheckBase(number, state.base, commands, not state.gates_known)] if wanted else []
    if not state.gates_known:
        return [] if running else [CheckBase(number, state.base, (), gates=True)]
    under_way = {command for check in running for command in check.acceptance}
    left = [command for command in commands if command not in under_way]
    return [CheckBase(number + n, state.base, (command,), gates=False) for n, command in enumerate(left[:free])]


def may_implement(state: RunState, known: TaskState) -> bool:
    """Return whether a task may start: the gate commands and its own are known to run, now or once it is done."""
    if not state.rules.check_base:
        return True
    if not state.gates_known or CANNOT_RUN_ITEM in state.holds or RED_BASE_ITEM in state.holds:
        return False
    return all(command in state.base_checks for command in acceptance_commands(known))


def blocks(check: BaseCheck) -> bool:
    """Return whether a command can check nothing, now or later, so that nothing is worth being implemented."""
    if check.ending in {Ending.CANNOT_RUN, Ending.NOTHING_RAN}:
        return not check.later
    # an acceptance command may well hang until there is what it asks
    return check.gate and check.ending in {Ending.TIMED_OUT, Ending.KILLED}


def blocking(state: RunState) -> list[BaseCheck]:
    """Return the commands that cannot run and that nobody said to do without."""
    return [check for check in state.base_checks.values() if blocks(check) and check.command not in state.left_out]


def red(state: RunState) -> list[BaseCheck]:
    """Return the gate commands that ran on the base commit and failed."""
    return [check for check in state.base_checks.values() if check.gate and check.ending is Ending.FAILED]


def take_checks(transition: Transition, event: BaseChecked) -> None:
    """Take in what the base commit's commands said: continue, ask, or end the run before it costs more."""
    effect = transition.take_back(f"check-base.{event.number}", event)
    with_gates = isinstance(effect, CheckBase) and effect.gates
    state = transition.state
    transition.set(
        base_checks={**state.base_checks, **{check.command: check for check in event.checks}},
        base_rounds=max(state.base_rounds, event.number),
        gates_known=state.gates_known or with_gates,
        made_from=event.made_from or state.made_from,
    )
    state = transition.state
    if state.answer:
        return  # nothing will be built on this base
    stopping = blocking(state)
    if stopping and state.rules.person:
        _ask_about(transition, stopping)
    elif stopping and state.stop is not None and state.stop.result is Result.CANNOT_RUN:
        transition.set(stop=replace(state.stop, reason=why_cannot_run(state)))  # another one that was under way
    elif stopping:
        transition.wind_down(Result.CANNOT_RUN, why_cannot_run(state))
    if with_gates and red(state) and state.rules.red_base == "ask":
        transition.ask(RED_BASE_ITEM, f"{red_words(red(state))} Work on this base all the same?")


def _ask_about(transition: Transition, stopping: Sequence[BaseCheck]) -> None:
    """Ask about all commands that cannot run; what asks about fewer of them is out of date."""
    question = _question(transition.state, stopping)
    known = transition.state.holds.get(CANNOT_RUN_ITEM)
    if known is not None and known.question != question:
        holds = {item: hold for item, hold in transition.state.holds.items() if item != CANNOT_RUN_ITEM}
        transition.set(holds=holds)
    transition.ask(CANNOT_RUN_ITEM, question)


def check_again(transition: Transition) -> None:
    """Forget the commands that did not run: what they want may be there now."""
    state = transition.state
    kept = {command: check for command, check in state.base_checks.items() if not blocks(check)}
    gates = kept if len(kept) < len(state.base_checks) else state.base_checks
    known = state.gates_known and all(not check.gate for check in blocking(state))
    transition.set(base_checks=gates, gates_known=known)


def answer_cannot_run(transition: Transition, event: Answered) -> None:
    """Take in what a person says of commands that cannot run: check again, continue without them, or end the run."""
    state = transition.state
    if not event.approved:
        transition.wind_down(Result.CANNOT_RUN, why_cannot_run(state))
    elif event.text.strip().casefold().startswith(WITHOUT):
        transition.set(left_out=(*state.left_out, *(check.command for check in blocking(state))))
    else:
        check_again(transition)


def answer_red_base(transition: Transition, event: Answered) -> None:
    """Take in whether a person wants work on a base whose own checks fail."""
    if not event.approved:
        transition.set(gates_known=False)  # so that it is asked again if the run continues anyway
        transition.wind_down(Result.NOT_GREEN, "you did not want work on a base whose own checks fail")


def red_finding(check_command: str, detail: str) -> Finding:
    """Return the finding that a failure of the base commit is, where such failures are to be fixed."""
    title = f"`{check_command}` fails on the base commit"
    return Finding(title, detail, Severity.MUST_FIX, Category.CI, gate=GateName.CI)


def red_acceptance(check: BaseCheck) -> tuple[Acceptance, ...]:
    """Return what shows that a failure of the base commit is gone."""
    return (Acceptance("the gate command passes", check.command),)


def failed_words(check: BaseCheck) -> str:
    """Say how many tests a command failed, and which: `2 of 120 tests: a, b`; how it ended where it names none."""
    if not check.executed:
        return check.reason or f"exit code {check.exit_code}"
    shown = ", ".join(clean_line(name) for name in check.failing[:SHOWN_TESTS])
    more = len(check.failing) - SHOWN_TESTS
    names = f": {shown}{f' and {more} more' if more > 0 else ''}" if shown else ""
    return f"{check.failed} of {count_of(check.executed, 'test')}{names}"


def red_words(checks: Sequence[BaseCheck]) -> str:
    """Say what fails on the base commit."""
    listed = "; ".join(f"`{check.command}` ({failed_words(check)})" for check in checks)
    return f"{count_of(len(checks), 'gate command')} failed before the run: {listed}."


def why_cannot_run(state: RunState) -> str:
    """Say which commands cannot run, and why; one line."""
    checks = blocking(state)
    listed = "; ".join(f"`{check.command}` {_how(check)}" for check in checks)
    begun = any(known.attempt for known in state.tasks.values())
    undone = "nothing was judged" if state.rules.review else "nothing was implemented"
    return f"{'' if begun else f'{undone}: '}on the base commit {listed}"


def _how(check: BaseCheck) -> str:
    reason = clean_line(check.reason)
    match check.ending:
        case Ending.NOTHING_RAN:
            return f"checks nothing ({reason})"
        case Ending.TIMED_OUT | Ending.KILLED:
            return f"does not end on its own ({reason})"
        case _:
            return f"cannot run ({reason})"


def what_to_do(check: BaseCheck) -> str:
    """Say what a person can do about a command that cannot run."""
    match check.ending:
        case Ending.NOTHING_RAN:
            return "correct the command so that it finds tests, or take it out"
        case Ending.TIMED_OUT:
            return "raise timeout_seconds in [codexteam.gates], or give it less to do"
        case Ending.KILLED:
            return "raise the limits in [codexteam.sandbox.limits], memory above all"
        case _:
            return _TODO.get(check.cause or Cause.UNKNOWN, "make it run there by hand, then resume")


def _question(state: RunState, checks: Sequence[BaseCheck]) -> str:
    parts = [f"On the base commit `{check.command}` {_how(check)}: {what_to_do(check)}." for check in checks]
    if state.made_from:
        parts.append(f"Sandboxes are made from {state.made_from}.")
    parts.append(f"Answer `{AGAIN}` once it is mended, or `{WITHOUT}` to continue without them; --no ends the run.")
    return " ".join(parts)


# An acceptance command that can only run once its task is done


def runs_later(
    command: str, ending: CommandEnding, *, planned: Sequence[str], files: Collection[str], workspace: str = ""
) -> bool:
    """Return whether an acceptance command did not run because what it wants is the plan's to make.

    Args:
        command: The command.
        ending: How it ended on the base commit.
        planned: The globs of all paths that tasks of the plan write.
        files: The paths of the base commit.
        workspace: Where commands find the repository, which their messages begin paths with.
    """
    if ending.ending not in {Ending.CANNOT_RUN, Ending.NOTHING_RAN}:
        return False
    named = named_paths(command)
    # a plan that may write anywhere says nothing of a program or a library: those are not its to make
    certain = [glob for glob in planned if not glob.startswith("*")]
    missing = _as_paths(ending.missing, workspace)
    match ending.cause:
        case Cause.PROGRAM:
            return any(_is_planned(path, certain) for path in (missing or named) if "/" in path or path in named)
        case Cause.MODULE:
            own = any(_is_there(path.partition("/")[0], files) for path in missing if "/" in path)
            return any(_is_planned(path, planned if own else certain) for path in missing)
        case Cause.SCRIPT:
            return any(_is_planned(path, planned) for path in _SCRIPT_FILES)
        case None | Cause.PATH | Cause.COLLECTION | Cause.UNKNOWN | Cause.USAGE:
            if any(_is_planned(path, planned) for path in (*missing, *named)):
                return True
            # it looked for tests, and every place that it names is there: any task may bring them
            return ending.ending is Ending.NOTHING_RAN and all(_is_there(path, files) for path in named)
        case _:
            return False


#: Where what `make`, `npm run` and the like call is defined.
_SCRIPT_FILES = ("package.json", "Makefile", "GNUmakefile", "makefile", "Rakefile", "composer.json", "noxfile.py", "tox.ini",
                 "build.gradle", "build.gradle.kts", "pyproject.toml", "mix.exs")  # fmt: skip


def has_tests(files: Iterable[str]) -> bool:
    """Return whether a repository has test files at all: a runner that finds none there has nothing to find yet."""
    return any(is_test_file(path) for path in files)


_PATH_WORD = re.compile(r"[\w@.+-]+(?:/[\w@.+*-]+)*/?")
_FILE_NAME = re.compile(r"[\w-]+(?:\.[\w-]+)*\.[A-Za-z]{1,4}")
_DOTTED = re.compile(r"[A-Za-z_]\w*(?:\.[A-Za-z_]\w*)+")


def named_paths(command: str) -> tuple[str, ...]:
    """Return the words of a command that look like paths of the repository, dotted modules written as paths."""
    try:
        words = shlex.split(command)
    except ValueError:
        words = command.split()
    found: list[str] = []
    for word in words:
        place = word.partition("::")[0].removeprefix("./").rstrip("/")
        if not place or place.startswith(("-", "/")) or not _PATH_WORD.fullmatch(place):
            continue
        if "/" in place or _FILE_NAME.fullmatch(place):
            found.append(place)
        if _DOTTED.fullmatch(place):
            found += _module_paths(place)
    return tuple(dict.fromkeys(found))


def _module_paths(name: str) -> list[str]:
    """Return where a dotted module may stand; its last words may name what is in it."""
    parts = name.split(".")
    return [f"{'/'.join(parts[:end])}.py" for end in range(len(parts), 0, -1)] + ["/".join(parts)]


def _as_paths(missing: str, workspace: str) -> list[str]:
    place = missing.partition("::")[0].strip("'\"")
    if workspace and place.startswith(f"{workspace}/"):
        place = place.removeprefix(f"{workspace}/")
    place = re.sub(r"^(?:\.{1,2}/)+", "", place).rstrip("/")
    if not place or place.startswith("/"):
        return []
    if re.fullmatch(r"[A-Za-z_]\w*(?:\.[A-Za-z_]\w*)*", place) and "/" not in place:
        return [*_exact_module(place), place]
    return [place]


def _exact_module(name: str) -> list[str]:
    folder = name.replace(".", "/")
    return [f"{folder}.py", f"{folder}/__init__.py", folder]


def _is_planned(path: str, planned: Sequence[str]) -> bool:
    """Return whether a task may write a path, as it stands or below a folder of sources such as `src`."""
    if scopes_overlap([path], planned):
        return True
    return any(glob == path or glob.endswith(f"/{path}") for glob in planned)


def _is_there(path: str, files: Collection[str]) -> bool:
    return path in files or any(file.startswith(f"{path}/") for file in files)
