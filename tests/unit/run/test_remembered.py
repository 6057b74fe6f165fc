"""What a run remembers is stored as older versions stored it, and what those stored is read."""

import json

import pytest

from codexteam.app.plan_file import GivenText
from codexteam.app.project import Cleaned
from codexteam.app.server_memory import LeftOutParts
from codexteam.core.codec import decode, encode_object
from codexteam.core.ids import CommitId, TaskId
from codexteam.run.code_index import FileNote
from codexteam.run.command_outcome import CommandOutcome
from codexteam.run.plan_versions import PlanVersion, PlanVersions
from codexteam.run.remembered import AcceptedWork, AskedPerson, CiCommands, FirstTime, GoalReading, LeftOut, ScoutsText


@pytest.mark.parametrize(
    ("written", "value"),
    [
        ('{"at_seconds": 1763780000}', FirstTime(1763780000)),
        ('{"base": "a1", "commit": "b2"}', AcceptedWork(CommitId("a1"), CommitId("b2"))),
        ('{"left_out": ["metadata"]}', LeftOutParts(("metadata",))),
        ('{"text": "# Plan"}', GivenText("# Plan")),
        ('{"branch_left": true}', Cleaned(branch_left=True)),
        ('{"lines": ["- big.bin: too large"]}', LeftOut(("- big.bin: too large",))),
        ('{"commands": ["make test"]}', CiCommands(("make test",))),
        ('{"text": "Scout 1: x"}', ScoutsText("Scout 1: x")),
        ('{"text": "Which format?", "questions": ["Which format?"]}', GoalReading("Which format?", ("Which format?",))),
        ('{"question": "why?", "task": "T1", "at": 1.5}', AskedPerson("why?", TaskId("T1"), 1.5)),
        ('{"question": "why?", "task": null, "at": 1.5}', AskedPerson("why?", None, 1.5)),
        ('{"purpose": "reads CSV", "symbols": ["read"]}', FileNote("reads CSV", ("read",))),
        (
            '{"command": "make", "exit_code": null, "timed_out": true, "output": "...", "wall_seconds": 600.0}',
            CommandOutcome("make", None, timed_out=True, output="...", wall_seconds=600.0),
        ),
        (
            '{"versions": [{"sha256": "0", "tasks": ["T1"], "marks": "~"}, '
            '{"sha256": "1", "tasks": [], "marks": "", "meaning": "m", "goal": "g"}]}',
            PlanVersions((PlanVersion("0", (TaskId("T1"),), "~"), PlanVersion("1", (), "", "m", "g"))),
        ),
    ],
)
def test_values_are_written_and_read_as_in_older_versions(written: str, value: object) -> None:
    assert decode(type(value), json.loads(written), "value") == value
    assert encode_object(value) == json.loads(written)


def test_a_run_that_an_older_version_cleaned_left_no_branch() -> None:
    assert decode(Cleaned, {}, "cleaned") == Cleaned(branch_left=False)
