"""`update_plan`: the agent's own list of steps, for those who watch it."""

from collections.abc import Callable
from dataclasses import dataclass

from codexteam.agent.tools.arguments import parse_arguments
from codexteam.agent.tools.tool import ToolOutput, ToolProblem, function_definition
from codexteam.core.ids import JSONObject

_STATES = ("pending", "in_progress", "completed")


@dataclass(frozen=True, slots=True)
class UpdatePlan:
    """Takes the list and passes it on."""

    report: Callable[[tuple[JSONObject, ...]], None]

    @property
    def name(self) -> str:
        return "update_plan"

    @property
    def only_reads(self) -> bool:
        """Never: lists are reported in the order they were made."""
        return False

    @property
    def definition(self) -> JSONObject:
        """Codex's tool."""
        step: JSONObject = {
            "type": "object",
            "properties": {"step": {"type": "string"}, "status": {"type": "string", "enum": list(_STATES)}},
            "required": ["step", "status"],
            "additionalProperties": False,
        }
        return function_definition(
            self.name,
            "Updates your task plan. At most one step is in_progress.",
            {"explanation": {"type": "string"}, "plan": {"type": "array", "items": step}},
            ("plan",),
        )

    async def call(self, arguments: str, *, call_id: str) -> ToolOutput:  # noqa: ARG002 - a plan leaves no log
        """Check the list and pass it on."""
        given = parse_arguments(self.name, arguments, known=("explanation", "plan"))
        steps = given.get("plan")
        if not isinstance(steps, list):
            raise ToolProblem("the argument plan must be an array of steps.")
        checked: list[JSONObject] = []
        for step in steps:
            match step:
                case {"step": str(text), "status": str(status)} if status in _STATES:
                    checked.append({"step": text, "status": status})
                case _:
                    raise ToolProblem(f"each step has `step`, a string, and `status`, one of {', '.join(_STATES)}.")
        self.report(tuple(checked))
        return ToolOutput("Plan updated")
