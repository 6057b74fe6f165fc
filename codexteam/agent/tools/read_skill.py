"""`read_skill`: the skills that are not in the workspace, since the user's own folders never are in a sandbox."""

from collections.abc import Sequence

from codexteam.agent.skills import Skill
from codexteam.agent.tools.arguments import parse_arguments, text_argument
from codexteam.agent.tools.tool import ToolOutput, ToolProblem, function_definition
from codexteam.core.ids import JSONObject

#: How many of a skill's files are listed if a missing one is asked for.
_MAX_FILES_TOLD = 50


class ReadSkillTool:
    """Gives a skill's SKILL.md, or another file below its folder; a `Tool`. It reaches nothing else."""

    def __init__(self, skills: Sequence[Skill]) -> None:
        self._skills = {skill.id: skill for skill in skills}

    @property
    def name(self) -> str:
        """The tool's name."""
        return "read_skill"

    @property
    def only_reads(self) -> bool:
        return True

    @property
    def definition(self) -> JSONObject:
        """The entry in a request's `tools`."""
        return function_definition(
            self.name,
            "Reads a skill's SKILL.md, or a file it refers to. Its scripts are not in the sandbox: "
            "copy what you need of them to temporary files in the workspace.",
            {
                "skill": {"type": "string", "description": "The skill, as listed after `read_skill:`."},
                "path": {
                    "type": "string",
                    "description": "A file, relative to the skill's folder; SKILL.md if left out.",
                },
            },
            ("skill",),
        )

    async def call(self, arguments: str, *, call_id: str) -> ToolOutput:  # noqa: ARG002 - nothing is kept of a call
        """Return the text of the file.

        Raises:
            ToolProblem: no such skill or file, a path out of the skill's folder, or no text.
        """
        values = parse_arguments(self.name, arguments, known=("skill", "path"))
        asked = text_argument(values, "skill")
        skill = self._skills.get(asked.removeprefix("$"))
        if skill is None:
            raise ToolProblem(f"there is no skill {asked!r}; there are: {', '.join(sorted(self._skills)) or 'none'}.")
        path = text_argument(values, "path", default="SKILL.md")
        parts = [part for part in path.split("/") if part not in ("", ".")]
        if path.startswith("/") or ".." in parts or not parts:
            raise ToolProblem(f"{path!r} must be a path below the skill's folder, without `..`.")
        prefix = f"{skill.folder}/" if skill.folder else ""
        files = await skill.source.paths(skill.folder)
        wanted = prefix + "/".join(parts)
        data = await skill.source.read(wanted) if wanted in files else None
        if data is None:
            there = [file.removeprefix(prefix) for file in files]
            more = f" and {len(there) - _MAX_FILES_TOLD} more" if len(there) > _MAX_FILES_TOLD else ""
            raise ToolProblem(f"{asked} has no file {path!r}; it has: {', '.join(there[:_MAX_FILES_TOLD])}{more}.")
        try:
            return ToolOutput(data.decode())
        except UnicodeDecodeError:
            raise ToolProblem(f"{path!r} of {asked} is not UTF-8 text ({len(data)} bytes).") from None


def make_read_skill_tool(skills: Sequence[Skill]) -> ReadSkillTool | None:
    """Return the tool for the skills that are not in the workspace; None when there are none."""
    elsewhere = [skill for skill in skills if not skill.in_workspace]
    return ReadSkillTool(elsewhere) if elsewhere else None
