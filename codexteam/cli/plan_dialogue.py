"""`plan -i`: the plan as a dialogue on the terminal, until it is approved or left."""

import sys
from collections.abc import Callable
from typing import TYPE_CHECKING

from codexteam.errors import CodexteamError, UsageError

if TYPE_CHECKING:
    from codexteam.app.project import Project
    from codexteam.app.run import RunOptions, RunResult
    from codexteam.core.ids import RunId
    from codexteam.views.run_view import RunView

_HELP = "[a]pprove, [e]dit plan.md, [q]uit, or say in words what to change"
_APPROVE = frozenset({"a", "approve", "y", "yes", "ok"})
_EDIT = frozenset({"e", "edit"})
_QUIT = frozenset({"q", "quit", "exit"})
_UNCLEAR = frozenset({"n", "no", "?", "h", "help", ""})


def require_terminal(shown: "RunView", *, ci: bool) -> None:
    """Refuse a dialogue that nobody could take part in.

    Raises:
        UsageError: standard input or output is no terminal, or a pipeline runs it.
    """
    if ci:
        raise UsageError("-i asks a person and --ci asks nobody", hint="give one of them")
    if not shown.can_ask:
        raise UsageError(
            "plan -i needs a terminal, and standard input or output is none",
            hint='codexteam plan "goal", then codexteam answer plan "what to change" or codexteam approve plan',
        )


def plan_in_dialogue(make: "Callable[[], RunResult]", options: "RunOptions", shown: "RunView") -> int:
    """Make a plan, and let its user change it until they approve it or leave; return the exit code."""
    from codexteam.app import plan_dialogue
    from codexteam.app.run import resume_run

    results: list[RunResult] = []

    def planned(begin: "Callable[[], RunResult]") -> int:
        def kept() -> "RunResult":
            results.append(begin())
            return results[-1]

        return shown.show(kept)

    code = planned(make)
    while True:
        result = results[-1]
        if result.project is None:
            return code
        project, run_id = result.project, result.run_id
        now = plan_dialogue.standing(project, run_id)
        if now.questions:
            words = _asked_questions(shown, now.questions)
            if words is None:
                return _left(shown, code)
            plan_dialogue.answer_questions(project, run_id, words)
        elif not now.waits:
            return code  # an answer, a limit, or no plan: the summary says it
        elif (words := _settled(shown, options, project, run_id)) is None:
            return _left(shown, code)
        elif not words:
            shown.note("approved. Work on it: codexteam resume")
            return 0
        else:
            plan_dialogue.correct(project, run_id, words)
        code = planned(lambda run_id=run_id: resume_run(run_id, options))  # type: ignore[misc]  # bound default


def _settled(shown: "RunView", options: "RunOptions", project: "Project", run_id: "RunId") -> str | None:
    """Talk until the user says what to change; empty once the plan is approved, None where they leave."""
    from codexteam.app import plan_dialogue

    while True:
        typed = _read(f"{_HELP}: ")
        word = "q" if typed is None else typed.casefold()
        if typed is None or word in _QUIT:
            return None
        if word in _UNCLEAR:
            shown.note(_HELP)
            continue
        in_editor = word in _EDIT
        try:
            # whatever is decided is decided about the plan as it stands in the file
            edited = (plan_dialogue.edit if in_editor else plan_dialogue.take_edit)(project, options.load, run_id)
        except CodexteamError as error:
            shown.note(f"error: {error}")
            if error.hint:
                shown.note(f"hint: {error.hint}")
            continue
        for line in (*edited.notes, *edited.changes) or (("nothing was changed",) if in_editor else ()):
            shown.note(line)
        if word in _APPROVE:
            plan_dialogue.approve(project, run_id)
            return ""
        if not in_editor:
            return typed


def _asked_questions(shown: "RunView", questions: tuple[str, ...]) -> str | None:
    """Ask the planner's questions one by one; None where the user leaves, empty where they answer none."""
    answers = []
    for number, question in enumerate(questions, start=1):
        shown.note(f"{number}. {question}")
        typed = _read("your answer (Enter: the planner decides; q: leave): ")
        if typed is None or typed.casefold() in _QUIT:
            return None
        if typed:
            answers.append(f"{number}. {question} {typed}")
    return "\n".join(answers)


def _read(prompt: str) -> str | None:
    """Read a line from the terminal; None at its end, or where Ctrl-C is pressed."""
    try:
        return input(prompt).strip()
    except (EOFError, KeyboardInterrupt):
        sys.stdout.write("\n")
        return None


def _left(shown: "RunView", code: int) -> int:
    shown.note('the plan waits: codexteam answer plan "..." changes it, codexteam resume works on it')
    return code
