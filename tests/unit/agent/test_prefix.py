import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import cast

import pytest

from codexteam.agent.agent_kinds import instructions
from codexteam.agent.compaction import compact_at_tokens, compacted
from codexteam.agent.contract import output_schema, shape_fact
from codexteam.agent.prefix import Prompt, cache_key, environment_fact, fixed_bytes
from codexteam.agent.tools.files import ApplyPatch, ViewImage
from codexteam.agent.tools.leave_note import LeaveNote, Notes
from codexteam.agent.tools.look_up import LookUp
from codexteam.agent.tools.search_code import CodeSearch, SearchCode
from codexteam.agent.tools.shell import ExecCommand, Sessions, WriteStdin
from codexteam.agent.tools.tool_context import ToolContext
from codexteam.agent.tools.update_plan import UpdatePlan
from codexteam.agent.transcript import Transcript, block_of, user_item
from codexteam.config.settings import NetworkKind, NetworkPolicy, SandboxMode
from codexteam.core.budget_amounts import Usage
from codexteam.core.ids import JSONObject, Purpose
from tests.unit.agent.agent_world import agent_key

PURPOSES: dict[str, tuple[Purpose, ...]] = {
    "ci_runner": (Purpose.CI, Purpose.SETUP),
    "documentation": (Purpose.DOCUMENT,),
    "explorer": (Purpose.SCOUT, Purpose.LOOKUP),
    "implementer": (Purpose.IMPLEMENT, Purpose.RESOLVE),
    "orchestrator": (Purpose.PLAN, Purpose.REPLAN, Purpose.CLARIFY),
    "qa_test_author": (Purpose.QA,),
    "release_manager": (Purpose.RELEASE,),
    "requirement_analyst": (Purpose.SCOUT,),
    "reviewer": (Purpose.REVIEW,),
    "security_reviewer": (Purpose.SECURITY,),
}
PACK = sorted((Path(__file__).parents[2] / "data" / "starter_pack" / "agents").glob("*.toml"))
ROLES = sorted((Path(__file__).parents[3] / "agents").glob("*.toml"))


class ThreeAtOnce:
    """Explorers as they are without any setting."""

    most_at_once = 3

    async def answers(self, questions: tuple[str, ...]) -> list[str]:
        return [*questions]


def all_tools(*, freeform: bool = False) -> list[JSONObject]:
    place = cast("ToolContext", None)
    sessions = Sessions()
    tools = (
        ExecCommand(place, sessions),
        WriteStdin(place, sessions),
        ApplyPatch(place, freeform),
        ViewImage(place),
        LeaveNote(cast("Notes", None)),
        LookUp(ThreeAtOnce()),
        SearchCode(cast("CodeSearch", None)),
        UpdatePlan(lambda _: None),
    )
    return [tool.definition for tool in tools]


def fixed_of(table: Mapping[str, str], purposes: Sequence[Purpose], *, freeform: bool) -> int:
    """Give what every request of a role has: instructions, the tools that it is offered, the shape of its answer."""
    left_out = {"update_plan"} | ({"apply_patch"} if table["sandbox_mode"] == "read-only" else set())
    # only who works on a task has these, whatever it may write; a task may be to document
    of_tasks = {Purpose.IMPLEMENT, Purpose.RESOLVE, Purpose.DOCUMENT}
    left_out |= {"leave_note", "look_up"} if of_tasks.isdisjoint(purposes) else set()
    tools = [tool for tool in all_tools(freeform=freeform) if tool["name"] not in left_out]
    shapes = [len(shape_fact(schema)) for purpose in purposes if (schema := output_schema(purpose))]
    text = instructions(purposes[0], table["developer_instructions"])
    return fixed_bytes(text, tools) + max(shapes)


@pytest.mark.parametrize("path", [*ROLES, *PACK], ids=lambda path: f"{path.parent.parent.name}-{path.stem}")
@pytest.mark.parametrize("freeform", [False, True])
def test_what_is_fixed_in_a_request_stays_under_6_kb(path: Path, freeform: bool) -> None:
    assert fixed_of(tomllib.loads(path.read_text()), PURPOSES[path.stem], freeform=freeform) <= 6 * 1024


def test_facts_come_before_the_task() -> None:
    prompt = Prompt("Do it.", ("AGENTS.md", "", "environment"), "T1")
    assert list(prompt.items()) == [user_item("AGENTS.md"), user_item("environment"), user_item("T1")]


def test_agents_of_a_role_share_a_cache_key() -> None:
    assert cache_key(agent_key(task="T1")) == cache_key(agent_key(task="T2")) == "20261121-0231-7f3a-implementer"


def test_the_environment_reads_as_in_codex() -> None:
    text = environment_fact(SandboxMode.WORKSPACE_WRITE, NetworkPolicy(NetworkKind.ALLOWLIST, ("pypi.org",)))
    assert text == (
        "<environment_context>\n"
        "  <cwd>/work</cwd>\n"
        "  <shell>bash</shell>\n"
        "  <sandbox_mode>workspace-write</sandbox_mode>\n"
        "  <network_access>restricted to pypi.org</network_access>\n"
        "</environment_context>"
    )


def test_the_bound_on_input_counts_what_the_service_has_not_counted() -> None:
    transcript = Transcript((user_item("x" * 1_000),))
    first = transcript.most_input_tokens()
    assert first > 1_000
    transcript.begin([user_item("answer")], Usage(300, 0, 20, 0))
    assert 320 < transcript.most_input_tokens() < 400
    transcript.follow([user_item("y" * 100)])
    assert 420 < transcript.most_input_tokens() < 600
    transcript.replace([])
    assert transcript.most_input_tokens() == first


def test_a_picture_counts_as_a_picture_and_not_as_its_bytes() -> None:
    image: JSONObject = {"type": "input_image", "image_url": "data:image/png;base64," + "A" * 1_000_000}
    transcript = Transcript(())
    transcript.follow([{"type": "function_call_output", "call_id": "c", "output": [image]}])
    assert 12_000 < transcript.most_input_tokens() < 13_000


def test_the_hash_is_of_everything_that_makes_the_request() -> None:
    one, other = Transcript((user_item("a"),), ("tools",)), Transcript((user_item("a"),), ("other tools",))
    assert one.hash != other.hash
    again = Transcript((user_item("a"),), ("tools",))
    assert one.hash == again.hash
    one.follow([user_item("b")])
    assert one.hash != again.hash
    again.follow([user_item("b")])
    assert one.hash == again.hash


@pytest.mark.parametrize(
    ("window", "asked", "limit"),
    [(None, None, None), (1_000, None, 900), (1_000, 500, 500), (1_000, 5_000, 900), (None, 700, 700)],
)
def test_compaction_begins_before_the_window_is_full(window: int | None, asked: int | None, limit: int | None) -> None:
    assert compact_at_tokens(window, asked) == limit


def test_a_compacted_transcript_keeps_whole_last_turns() -> None:
    blocks = [block_of([user_item(str(number) * 10_000)]) for number in range(5)]
    kept = compacted(blocks, "Summary.")
    assert kept[1:] == blocks[3:]
    assert "Summary." in str(kept[0].items)
    assert "git diff" in str(compacted(blocks, " ")[0].items)
