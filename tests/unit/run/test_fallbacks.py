"""Agents of no task whose model does not serve them go on under the next of the list, and others do not ask for it again."""

from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from codexteam.config.load import load_settings
from codexteam.config.request import LoadRequest
from codexteam.core.answers import ScoutReport
from codexteam.core.budget_amounts import Usage
from codexteam.core.ids import AgentKey, CommitId, JSONObject, JSONValue, Purpose, RunId
from codexteam.errors import ModelAccessError, UsageLimitError
from codexteam.run.assignment import AgentAnswer, AgentFailure, Assignment, Report, Unserved
from codexteam.run.fallbacks import FALLBACK_SETTING, Fallbacks
from tests.fakes.fake_repo import FakeRepo
from tests.fakes.run_context import fake_context

RUN = RunId("20261121-0231-7f3a")
ANSWER = AgentAnswer(ScoutReport("ok", (), (), ()), None, Usage(), 1)
GONE = ModelAccessError("no such model")
DOWN = AgentFailure("the model gave no answer: 503", unserved=Unserved.DOWN)
REJECTED = AgentFailure("the model gave no answer: 400", unserved=Unserved.REJECTED)
REFUSED = AgentFailure("the model refused: no", unserved=Unserved.REFUSED)
End = Exception | AgentFailure | None


class Agents:
    """Ends as its model does; one that is not named answers."""

    def __init__(self, ends: Mapping[str, End]) -> None:
        self.ends = ends
        self.asked: list[str] = []

    async def work(self, assignment: Assignment[ScoutReport]) -> Report[ScoutReport]:
        self.asked.append(assignment.model)
        assert (assignment.chosen_by == FALLBACK_SETTING) is bool(assignment.model)
        end = self.ends.get(assignment.model)
        if isinstance(end, Exception):
            raise end
        return end or ANSWER


def assignment(purpose: Purpose = Purpose.PLAN, role: str = "orchestrator") -> Assignment[ScoutReport]:
    return Assignment(AgentKey(RUN, role, purpose, "", 1), CommitId("0" * 40), "", ScoutReport)


@pytest.fixture
def make(tmp_path: Path) -> Callable[..., tuple[Fallbacks, list[str]]]:
    def build(*fallback: str) -> tuple[Fallbacks, list[str]]:
        environment = {"CODEX_HOME": str(tmp_path), "HOME": str(tmp_path)}
        flags: dict[str, JSONValue] = {"codexteam.escalation.fallback": [*fallback]}
        settings = load_settings(LoadRequest(tmp_path, environment, flags=flags, system_folder=tmp_path / "none"))
        told: list[str] = []

        def report(_kind: str, fields: JSONObject) -> None:
            told.append(str(fields["text"]))

        return Fallbacks(fake_context(RUN, settings, FakeRepo(tmp_path / "r", {}), tmp_path, report=report)), told

    return build


@pytest.mark.parametrize("end", [GONE, DOWN])
async def test_the_first_that_serves_it_answers_and_the_user_is_told(
    make: Callable[..., tuple[Fallbacks, list[str]]], end: End
) -> None:
    fallbacks, told = make("second", "third")
    agents = Agents({"": end, "second": end})

    assert await fallbacks.serve(assignment(), agents.work) is ANSWER
    assert agents.asked == ["", "second", "third"]
    assert [text.partition(" does not")[0] for text in told] == [
        "orchestrator: its model gpt-5.4",
        "orchestrator: its model second",
    ]

    # the next one of the session begins with what serves
    assert await fallbacks.serve(assignment(Purpose.REVIEW, "reviewer"), agents.work) is ANSWER
    assert agents.asked == ["", "second", "third", "third"]


async def test_a_refusal_stands_and_the_next_agent_of_its_role_has_another_model(
    make: Callable[..., tuple[Fallbacks, list[str]]],
) -> None:
    fallbacks, told = make("second")
    agents = Agents({"": REFUSED})

    assert await fallbacks.serve(assignment(), agents.work) is REFUSED
    assert await fallbacks.serve(assignment(), agents.work) is ANSWER
    assert await fallbacks.serve(assignment(Purpose.REVIEW, "reviewer"), agents.work) is REFUSED
    assert agents.asked == ["", "second", ""]
    assert told == []


async def test_a_request_that_is_not_taken_bars_a_model_for_one_role(
    make: Callable[..., tuple[Fallbacks, list[str]]],
) -> None:
    fallbacks, _ = make("second")
    agents = Agents({"": REJECTED})

    assert await fallbacks.serve(assignment(), agents.work) is ANSWER
    assert await fallbacks.serve(assignment(), agents.work) is ANSWER
    assert agents.asked == ["", "second", "second"]
    assert await fallbacks.serve(assignment(Purpose.REVIEW, "reviewer"), agents.work) is ANSWER
    assert agents.asked[3:] == ["", "second"]


async def test_where_nobody_serves_it_ends_as_without_a_list(make: Callable[..., tuple[Fallbacks, list[str]]]) -> None:
    for names in ((), ("second",)):
        fallbacks, _ = make(*names)
        with pytest.raises(ModelAccessError):
            await fallbacks.serve(assignment(), Agents({"": GONE, "second": GONE}).work)
        assert await fallbacks.serve(assignment(), Agents({"": DOWN, "second": DOWN}).work) is DOWN


async def test_a_plans_limit_and_attempts_at_tasks_are_not_its_concern(
    make: Callable[..., tuple[Fallbacks, list[str]]],
) -> None:
    fallbacks, _ = make("second")
    with pytest.raises(UsageLimitError):
        await fallbacks.serve(assignment(), Agents({"": UsageLimitError("used up")}).work)
    agents = Agents({"": DOWN})
    assert await fallbacks.serve(assignment(Purpose.IMPLEMENT, "implementer"), agents.work) is DOWN
    assert agents.asked == [""]
