"""What a person typed as an answer, read as the event that it means; what would be lost or misread is refused."""

import re
from enum import Enum

from codexteam.core.approvals import FINDINGS
from codexteam.core.base_check import AGAIN, CANNOT_RUN_ITEM, RED_BASE_ITEM, WITHOUT
from codexteam.core.budget_text import AMOUNT_FORMS
from codexteam.core.events import Answered
from codexteam.core.ids import FindingId
from codexteam.core.state import FindingStatus, RunState
from codexteam.core.task_budgets import BUDGET_ITEM, amount_problem
from codexteam.core.text import clean_line
from codexteam.errors import UsageError

_YES = frozenset({"yes", "y", "ok", "approve", "approved"})
_NO = frozenset({"no", "n", "decline", "declined"})
_FINDING = re.compile(r"f\d+", re.IGNORECASE)
_ON = frozenset({"go on", "continue", *_YES})


class Choice(Enum):
    """What was chosen beside the text."""

    NONE = "none"
    APPROVE = "approve"
    """`codexteam approve`."""
    DECLINE = "decline"
    """`--no`."""


def read_reply(state: RunState, item: str, text: str, choice: Choice) -> Answered:
    """Return the event that an answer to something that waits means.

    Raises:
        UsageError: it does not say enough, or says what this item cannot take.
    """
    text = text.replace("\0", "").strip()
    if choice is Choice.APPROVE and text and not item.startswith(BUDGET_ITEM):
        raise UsageError(f"{item}: to approve takes no text", hint=f'codexteam answer {item} "..." says what to change')
    if item.startswith(BUDGET_ITEM):
        return _on_budget(state, item, text, choice)
    if item.startswith("rounds."):
        return _on_rounds(state, item, text, choice)
    if item == CANNOT_RUN_ITEM:
        return _on_cannot_run(text, choice)
    if item in {"plan", RED_BASE_ITEM} or item.startswith(("merge.", "guarded.")):
        return _on_approval(item, text, choice)
    return _on_question(item, text, choice)


def waived_names(item: str, text: str) -> list[str] | None:
    """Return the findings that words waive at a moment when nothing asks about them; None where they do not.

    `waive F1`, `F1 waive`, `findings waive F1` and `rounds.2 waive F1` all do; without a name all are meant.
    """
    words = text.replace(",", " ").split()
    if item.casefold() == "waive":
        return words
    if not words or words[0].casefold() != "waive":
        return None
    if _FINDING.fullmatch(item):
        return [item, *words[1:]]
    return words[1:] if item.casefold() == FINDINGS or item.startswith("rounds.") else None


def read_waiver(state: RunState, names: list[str]) -> Answered:
    """Return the event that waiving findings means when nothing asks about them.

    Raises:
        UsageError: no open finding has one of the names, or none is open.
    """
    ids = _open_ids(state, FINDINGS, names)
    if not ids and not any(known.status is FindingStatus.OPEN for known in state.findings.values()):
        raise UsageError(f"run {state.run_id} has no open findings", hint="codexteam status lists findings")
    return Answered(FINDINGS, " ".join(["waive", *ids]))


def is_approvable(item: str) -> bool:
    """Whether approving alone answers an item; a question needs words."""
    return item in {"plan", RED_BASE_ITEM} or item.startswith(("merge.", "rounds.", BUDGET_ITEM))


def _on_approval(item: str, text: str, choice: Choice) -> Answered:
    word = text.casefold()
    if choice is Choice.APPROVE or (choice is Choice.NONE and word in _YES):
        return Answered(item, "", approved=True)
    if choice is Choice.DECLINE or word in _NO:
        # words with it send the work back; without them it is declined for good
        return Answered(item, "" if word in _NO else text, approved=False)
    if text:
        return Answered(item, text, approved=False)
    raise UsageError(
        f"{item}: the answer is empty",
        hint=f'codexteam approve {item}, codexteam answer {item} "what to change", or codexteam answer {item} --no',
    )


def _on_budget(state: RunState, item: str, text: str, choice: Choice) -> Answered:
    word = text.casefold()
    if choice is Choice.DECLINE or word in _NO:
        return Answered(item, "", approved=False)
    if (choice is Choice.APPROVE and not text) or word in _ON:
        return Answered(item, "")
    problem = amount_problem(state, item, text) if text else "the answer is empty"
    if problem:
        raise UsageError(
            f"{item}: {problem}; allowed: {AMOUNT_FORMS}, or 10%",
            hint=f"codexteam approve {item} (as much again), codexteam answer {item} 2usd (so much more), or --no",
        )
    return Answered(item, text)


def _on_cannot_run(text: str, choice: Choice) -> Answered:
    word = text.casefold()
    if choice is Choice.DECLINE or word in _NO:
        return Answered(CANNOT_RUN_ITEM, "", approved=False)
    if word in {AGAIN, WITHOUT}:
        return Answered(CANNOT_RUN_ITEM, word)
    found = f"{clean_line(text)!r} is none of its answers" if text else "the answer is empty"
    raise UsageError(
        f"{CANNOT_RUN_ITEM}: {found}",
        hint=f"codexteam answer {CANNOT_RUN_ITEM} {AGAIN} (it is mended), {WITHOUT} (leave out what cannot run), or --no "
        "to end the run",
    )


def _on_question(item: str, text: str, choice: Choice) -> Answered:
    if choice is Choice.APPROVE:
        raise UsageError(f"{item} is a question: approving does not answer it", hint=f'codexteam answer {item} "..."')
    if choice is Choice.DECLINE and item == "plan-questions":
        return Answered(item, text, approved=False)
    if choice is Choice.DECLINE and not text:
        raise UsageError(
            f"{item} is a question: --no alone does not answer it",
            hint=f'say what to do: codexteam answer {item} "..."',
        )
    if not text:
        raise UsageError(
            f"{item}: the answer is empty", hint=f'codexteam answer {item} "...", or - to read it from stdin'
        )
    return Answered(item, text, approved=choice is not Choice.DECLINE)


def _on_rounds(state: RunState, item: str, text: str, choice: Choice) -> Answered:
    word, *names = text.replace(",", " ").split() or [""]
    if choice is Choice.DECLINE:
        if text:
            raise UsageError(f"{item}: --no ends the run and takes no text", hint=f"codexteam answer {item} --no")
        return Answered(item, "", approved=False)
    if word.casefold() == "waive":
        return Answered(item, " ".join(["waive", *_open_ids(state, item, names)]))
    if choice is Choice.APPROVE or text.casefold() in _ON:
        return Answered(item, "")
    if text.casefold() in _NO:
        return Answered(item, "", approved=False)
    found = f"{clean_line(text)!r} is none of its answers" if text else "the answer is empty"
    raise UsageError(
        f"{item}: {found}",
        hint=f'codexteam answer {item} "continue", waive F1 ... (or waive alone for all but security), or --no to end the run',
    )


def _open_ids(state: RunState, item: str, names: list[str]) -> list[str]:
    open_ids = [str(i) for i, known in state.findings.items() if known.status is FindingStatus.OPEN]
    ids = [FindingId(name.upper()) for name in names]
    unknown = [str(name) for name in ids if name not in open_ids]
    if unknown:
        raise UsageError(
            f"{item}: no open finding is called {clean_line(', '.join(unknown))}; open: {', '.join(open_ids) or 'none'}",
            hint="codexteam status lists findings",
        )
    return [str(name) for name in ids]
