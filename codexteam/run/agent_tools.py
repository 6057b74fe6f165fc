"""The tools of the program's own that an agent is offered: what its role and its purpose call for."""

from collections.abc import Sequence
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
from codexteam.config.settings import RoleSettings
from codexteam.core.ids import AgentKey, Purpose
from codexteam.run.assignment import Assignment
from codexteam.run.code_search import CommitSearch
from codexteam.run.context import RunContext, work_name
from codexteam.run.lookups import Lookups, LookupsOf
from codexteam.run.notes import NotesOf

#: The provider that takes freeform tools held to a grammar; others get apply_patch as a function.
FREEFORM_PROVIDER = "openai"


def own_tools(
    context: RunContext,
    assignment: Assignment[Any],
    role: RoleSettings,
    *,
    lookups: Lookups,
    place: ToolContext,
    sessions: Sessions,
    skills: Sequence[Skill],
) -> tuple[Tool, ...]:
    """Return an agent's tools, servers' left out."""
    key = assignment.key
    own: dict[str, Tool] = {
        "exec_command": ExecCommand(place, sessions),
        "write_stdin": WriteStdin(place, sessions),
        "apply_patch": ApplyPatch(place, freeform=role.model.provider_id == FREEFORM_PROVIDER),
        "view_image": ViewImage(place),
        "update_plan": UpdatePlan(lambda _steps: None),
    }
    if works_on_task(key):
        if not assignment.contends:
            own["leave_note"] = ExternalTool(LeaveNote(NotesOf(context.notes, work_name(key))), place)
        own["look_up"] = ExternalTool(LookUp(LookupsOf(lookups, key, assignment.base)), place)
    if (code := context.code_map) is not None:
        own["search_code"] = ExternalTool(SearchCode(CommitSearch(code, assignment.base)), place)
    tools = [own[name] for name in tool_names(role, context.settings) if name in own]
    reader = make_read_skill_tool(skills)
    tools += [ExternalTool(reader, place)] if reader is not None else []
    return tuple(tools)


def works_on_task(key: AgentKey) -> bool:
    """Return whether an agent works on a task: it has the notes of others, and leaves its own."""
    return key.purpose in {Purpose.IMPLEMENT, Purpose.RESOLVE}
