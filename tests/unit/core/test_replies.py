"""What was typed as an answer becomes the event that was meant, or is refused."""

import pytest

from codexteam.core.findings import Category, Finding, Severity
from codexteam.core.ids import FindingId, GateName, RunId
from codexteam.core.replies import Choice, read_reply
from codexteam.core.state import FindingState, FindingStatus, Rules, RunState
from codexteam.errors import UsageError


def state(**statuses: FindingStatus) -> RunState:
    finding = Finding("t", "d", Severity.MUST_FIX, Category.CORRECTNESS, gate=GateName.REVIEW)
    found = {FindingId(name): FindingState(finding, "f", status, 1, 1) for name, status in statuses.items()}
    return RunState(RunId("r"), "goal", Rules(), findings=found)


@pytest.mark.parametrize(
    ("item", "text", "choice", "meant"),
    [
        ("plan", "", Choice.APPROVE, ("", True)),
        ("plan", " Yes ", Choice.NONE, ("", True)),
        ("plan", "smaller tasks", Choice.NONE, ("smaller tasks", False)),
        ("plan", "", Choice.DECLINE, ("", False)),
        ("merge.T1.1", "no", Choice.NONE, ("", False)),
        ("merge.T1.1", "use \0 a set", Choice.DECLINE, ("use  a set", False)),
        ("question.T1.1", "blue", Choice.NONE, ("blue", True)),
        ("question.T1.1", "no", Choice.NONE, ("no", True)),
        ("plan-questions", "", Choice.DECLINE, ("", False)),
        ("rounds.5", "", Choice.APPROVE, ("", True)),
        ("rounds.5", "go on", Choice.NONE, ("", True)),
        ("rounds.5", "", Choice.DECLINE, ("", False)),
        ("rounds.5", "waive", Choice.NONE, ("waive", True)),
        ("rounds.5", "Waive f1, F2", Choice.NONE, ("waive F1 F2", True)),
    ],
)
def test_an_answer_means_what_was_said(item: str, text: str, choice: Choice, meant: tuple[str, bool]) -> None:
    answered = read_reply(state(F1=FindingStatus.OPEN, F2=FindingStatus.OPEN), item, text, choice)

    assert (answered.item, answered.text, answered.approved) == (item, *meant)


@pytest.mark.parametrize(
    ("item", "text", "choice"),
    [
        ("plan", "", Choice.NONE),
        ("plan", "but smaller", Choice.APPROVE),
        ("question.T1.1", " ", Choice.NONE),
        ("question.T1.1", "", Choice.APPROVE),
        ("question.T1.1", "", Choice.DECLINE),
        ("rounds.5", "", Choice.NONE),
        ("rounds.5", "fix it", Choice.NONE),
        ("rounds.5", "waive F2", Choice.NONE),
        ("rounds.5", "waive F1 F9", Choice.NONE),
        ("rounds.5", "because", Choice.DECLINE),
    ],
)
def test_what_would_be_lost_or_misread_is_refused_with_a_hint(item: str, text: str, choice: Choice) -> None:
    with pytest.raises(UsageError) as caught:
        read_reply(state(F1=FindingStatus.OPEN, F2=FindingStatus.FIXED), item, text, choice)
    assert caught.value.hint
