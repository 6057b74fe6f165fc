"""Secrets are taken out of what happened before anything is decided on it."""

from codexteam.core.events import GateFinished, Planned, Verdict
from codexteam.core.findings import Category, Finding, Severity
from codexteam.core.ids import CommitId, GateName, TaskId
from codexteam.core.plan_graph import Plan, Task
from codexteam.core.redaction import redact_texts


def _redact(text: str) -> str:
    return text.replace("hunter22", "[redacted]")


def test_every_text_of_an_event_is_redacted_however_deep() -> None:
    task = Task(TaskId("T1"), "the title hunter22", description="hunter22", paths=("a/hunter22",))
    event = redact_texts(Planned(Plan("goal hunter22", tasks=(task,), later=("hunter22",))), _redact)
    assert isinstance(event, Planned)
    assert "hunter22" not in repr(event)
    assert event.plan.tasks[0].title == "the title [redacted]"


def test_words_of_ours_stay_though_a_secret_is_the_same_word() -> None:
    finding = Finding("must_fix", "ship", Severity.MUST_FIX, Category.CI, gate=GateName.CI)
    event = GateFinished(1, GateName.CI, CommitId("0" * 40), Verdict.SHIP, (finding,))
    taken = redact_texts(event, lambda text: "x" if text in {"must_fix", "ship", "ci_runner", "ci"} else text)
    assert isinstance(taken, GateFinished)
    assert (taken.verdict, taken.findings[0].severity) == (Verdict.SHIP, Severity.MUST_FIX)
    assert (taken.findings[0].title, taken.findings[0].detail) == ("x", "x")


def test_an_event_without_a_secret_is_the_same_object() -> None:
    event = Planned(Plan("goal", tasks=(Task(TaskId("T1"), "title"),)))
    assert redact_texts(event, _redact) is event
