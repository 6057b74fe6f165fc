"""The tools of the program's own that an agent is offered: what its role and its purpose call for."""

from collections.abc import Mapping, Sequence
from typing import Any

from codexteam.agent.skills import Skill
from codexteam.agent.tools.external_tool import ExternalTool
from codexteam.agent.tools.files import ApplyPatch, ViewImage
from codexteam.agent.tools.leave_note import LeaveNote
from codexteam.agent.tools.look_up import LookUp
from codexteam.agent.tools.read_skill import make_read_skill_tool
from codexteam.agent.tools.search_code import SearchCode
from codexteam.agent.tools.shell import ExecCommand, Sessions, WriteStdin
from codexteam.agent.tools.tool import Tool
from codexteam.agent.tools.tool_context import ToolContext
from codexteam.agent.tools.update_plan import UpdatePlan
from codexteam.config.receipt import tool_names
from codexteam.config.settings import RoleSettings, Settings
from codexteam.core.ids import AgentKey, Purpose
from codexteam.run.assignment import Assignment
from codexteam.run.code_search import CommitSearch
from codexteam.run.context import RunContext, work_name
from codexteam.run.host import AgentOrder
from codexteam.run.lookups import Lookups, LookupsOf
from codexteam.run.notes import NotesOf

#: The provider that takes freeform tools held to a grammar; others get apply_patch as a function.
FREEFORM_PROVIDER = "openai"
#: Those that not every agent of a role has.
_OF_RUN = frozenset({"leave_note", "look_up", "search_code"})


def own_tools(
    order: AgentOrder, of_run: Mapping[str, Tool], *, place: ToolContext, sessions: Sessions
) -> tuple[Tool, ...]:
    """Return an agent's tools, servers' left out: those for its sandbox, and of the run's those that it is offered."""
    own: dict[str, Tool] = {
        "exec_command": ExecCommand(place, sessions),
        "write_stdin": WriteStdin(place, sessions),
        "apply_patch": ApplyPatch(place, freeform=order.freeform),
        "view_image": ViewImage(place),
        "update_plan": UpdatePlan(lambda _steps: None),
        **{name: ExternalTool(tool, place) for name, tool in of_run.items()},
    }
    return tuple(own[name] for name in order.tools if name in own)


def run_tools(
    context: RunContext, assignment: Assignment[Any], *, lookups: Lookups, skills: Sequence[Skill]
) -> dict[str, Tool]:
    """Return the tools of an agent that ask the run and not its sandbox, by name; what they give is not yet shortened."""
    key = assignment.key
    found: dict[str, Tool] = {}
    if works_on_task(key):
        if not assignment.contends:
            found["leave_note"] = LeaveNote(NotesOf(context.notes, work_name(key)))
        found["look_up"] = LookUp(LookupsOf(lookups, key, assignment.base))
    if (code := context.code_map) is not None:
        found["search_code"] = SearchCode(CommitSearch(code, assignment.base))
    reader = make_read_skill_tool(skills)
    if reader is not None:
        found[reader.name] = reader
    return found


def offered_names(role: RoleSettings, settings: Settings, of_run: Mapping[str, Tool]) -> tuple[str, ...]:
    """Return the names of what an agent is offered, servers' tools left out, in the order of its requests."""
    named = [name for name in tool_names(role, settings) if name in of_run or name not in _OF_RUN]
    return (*named, *(name for name in of_run if name not in _OF_RUN))


def works_on_task(key: AgentKey) -> bool:
    """Return whether an agent works on a task: it has the notes of others, and leaves its own."""
    return key.purpose in {Purpose.IMPLEMENT, Purpose.RESOLVE}
