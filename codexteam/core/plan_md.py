"""plan.md: the people's view of a plan, and theirs to edit. `parse` and `render` round-trip; free text is kept.

A document is a list of nodes in the order of the file. What is recognised (the goal, tasks, items of Later and Risks)
is replaced when the plan changes; every other line stays where it was.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TypeAlias

from codexteam.core.ids import TaskId
from codexteam.core.plan_graph import Plan, Task
from codexteam.core.plan_md_task import (
    TASK_START,
    lines_of,
    near_box,
    normal_task,
    parse_task,
    refuse_misread,
    render_task,
)
from codexteam.core.plan_md_template import (
    comment_end,
    has_template,
    next_number,
    opens_comment,
    template,
    with_next_number,
)
from codexteam.core.text import clean, clean_line
from codexteam.errors import PlanError

#: How a file says that it is ours.
MARKER = "<!-- codexteam run "
_TITLE = "# Plan: "


@dataclass(frozen=True, slots=True)
class Header:
    """What the comment below the title says of the run."""

    run_id: str
    base: str
    branch: str

    def render(self) -> str:
        """Return the comment."""
        return f"{MARKER}{self.run_id} · base {self.base[:7]} · branch {self.branch} -->"


@dataclass(frozen=True, slots=True)
class Raw:
    """Lines that are the user's own; kept as they are."""

    lines: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Heading:
    """A `## ` heading."""

    name: str


@dataclass(frozen=True, slots=True)
class GoalText:
    """The body of `## Goal`."""

    text: str


@dataclass(frozen=True, slots=True)
class TaskNode:
    """A task."""

    task: Task


@dataclass(frozen=True, slots=True)
class ListItem:
    """One `- ` line below Later, Done, Next or Risks."""

    text: str


PlanNode: TypeAlias = Raw | Heading | GoalText | TaskNode | ListItem

_NEEDS_ESCAPE = re.compile(r"\\*#")
_ESCAPED = re.compile(r"\\+#")
_FENCE = re.compile(r"\s*```+[^`]*$")
_LISTS = ("later", "done", "next", "risks")
_SECTIONS = ("Goal", "Tasks", "Later", "Done", "Next", "Risks")


@dataclass(frozen=True, slots=True)
class PlanDocument:
    """A plan.md, read."""

    nodes: tuple[PlanNode, ...]
    lines: Mapping[TaskId, int] = field(default_factory=dict, compare=False)
    """Task to the line that it begins with, counted from 1, where it was read."""

    def plan(self) -> Plan:
        """Return the plan that stands in it."""
        goal = next((node.text for node in self.nodes if isinstance(node, GoalText)), "")
        tasks = tuple(node.task for node in self.nodes if isinstance(node, TaskNode))
        return Plan(goal, tasks=tasks, later=self.items("later"), risks=self.items("risks"))

    def items(self, section: str) -> tuple[str, ...]:
        """Return the items of a list section, by its name in lower case."""
        found: list[str] = []
        here = ""
        for node in self.nodes:
            if isinstance(node, Heading):
                here = node.name.casefold()
            elif isinstance(node, ListItem) and here == section:
                found.append(node.text)
        return tuple(found)

    def run_named(self) -> str | None:
        """Return the run whose header stands in it; None where there is none."""
        return _named(line for node in self.nodes for line in _own_lines(node))


def is_ours(text: str) -> bool:
    """Return whether a plan.md was written by codexteam: a line of it, outside of tasks, begins with the marker."""
    return run_named_in(text) is not None


def run_named_in(text: str) -> str | None:
    """Return the run that a plan.md of ours is of; None where it is not ours."""
    if MARKER not in text:
        return None
    try:
        return parse(text).run_named()
    except PlanError:
        # in the middle of an edit: what could be ours is not written over
        return _named(lines_of(text.removeprefix("\ufeff")))


def _named(lines: Iterable[str]) -> str | None:
    marked = next((line for line in lines if line.startswith(MARKER)), None)
    return None if marked is None else next(iter(marked.removeprefix(MARKER).split()), "")


def _own_lines(node: PlanNode) -> Sequence[str]:
    match node:
        case Raw(lines):
            return lines
        case GoalText(text):
            return lines_of(text)
        case _:
            # a task's command may hold any line, and is written with an indent
            return ()


def parse(text: str) -> PlanDocument:
    """Read a plan.md.

    Raises:
        PlanError: names the line, what was found and what is allowed.
    """
    lines = lines_of(text.removeprefix("\ufeff"))
    nodes: list[PlanNode] = []
    section = ""
    at = 0
    seen: dict[TaskId, int] = {}
    fence = 0  # the line of a code block that is open
    strays: list[int] = []
    above = _Above()
    while at < len(lines):
        line = lines[at]
        # a goal continues to the next heading, whatever it opens; a task's fences are its own
        if section not in {"tasks", "goal"} and (line.lstrip().startswith("```") if fence else _FENCE.match(line)):
            fence = 0 if fence else at + 1
        if line.startswith("## ") and not fence:
            section, above = line[3:].strip().casefold(), _Above()
            nodes.append(Heading(line[3:].strip()))
            at += 1
        elif section != "goal" and not fence and opens_comment(line):
            end = comment_end(lines, at)
            nodes.append(Raw(tuple(lines[at:end])))
            at, above = end, _Above()
        elif section == "goal":
            at, goal = _goal(lines, at)
            # an empty section is not a goal: one further down may be
            nodes += [goal] if goal.text else []
        elif section == "tasks" and TASK_START.match(line):
            start = at + 1
            at, task = parse_task(lines, at)
            if task.id in seen:
                raise PlanError(f"plan.md:{start}: task {task.id} is there twice, first in line {seen[task.id]}")
            seen[task.id] = start
            above = _Above(task.id, at)
            nodes.append(TaskNode(task))
        elif section in _LISTS and line.startswith("- ") and not fence:
            nodes.append(ListItem(line[2:].strip()))
            at += 1
        else:
            if section == "tasks":
                _refuse_near_task(line, at, above)
            elif TASK_START.match(line) and not fence:
                strays.append(at)
            nodes.append(Raw((line,)))
            at += 1
    _refuse_lost(lines, nodes, fence, strays)
    return PlanDocument(_join_raw(nodes), seen)


@dataclass(frozen=True, slots=True)
class _Above:
    """The last task of this section, and the index after its last line."""

    task_id: TaskId | None = None
    end: int = -1


def _refuse_near_task(line: str, at: int, above: _Above) -> None:
    """An edit that was meant to be a task, or a part of one, must not silently become free text."""
    if near_box(line):
        found = line if len(line) <= 60 else line[:57] + "..."
        hint = "a task is `- [ ] **T7** title`, its mark one of space, ~, x, !, -"
        raise PlanError(f"plan.md:{at + 1}: cannot read this task: {found}", hint=hint)
    refuse_misread(line, at + 1, above.task_id)
    if at == above.end and line[:1].isspace() and line.strip():
        hint = "its lines are indented by two spaces; your own words stand below a blank line"
        raise PlanError(f"plan.md:{at + 1}: is this a line of {above.task_id}? {line.strip()[:60]}", hint=hint)


def _refuse_lost(lines: Sequence[str], nodes: Sequence[PlanNode], fence: int, strays: Sequence[int]) -> None:
    """Refuse what would hide a part of the file: no section of tasks, a code block without an end, tasks elsewhere."""
    if fence:
        hint = "all that follows would be a part of it: close it with a line ```"
        raise PlanError(f"plan.md:{fence}: this code block is never closed", hint=hint)
    if not any(isinstance(node, Heading) and node.name.casefold() == "tasks" for node in nodes):
        hint = "tasks stand below a line `## Tasks`, each as `- [ ] **T1** title`"
        raise PlanError("plan.md: there is no `## Tasks` section", hint=hint)
    if strays:
        hint = "move it there, or below `## Later`; a heading between tasks begins with `### `"
        found = f"plan.md:{strays[0] + 1}: this task does not stand below `## Tasks`: {lines[strays[0]][:60]}"
        raise PlanError(found, hint=hint)


def _goal(lines: Sequence[str], at: int) -> tuple[int, GoalText]:
    body: list[str] = []
    while at < len(lines) and not lines[at].startswith("## "):
        line = lines[at]
        body.append(line[1:] if _ESCAPED.match(line) else line)
        at += 1
    return at, GoalText("\n".join(body).strip("\n"))


def _join_raw(nodes: Sequence[PlanNode]) -> tuple[PlanNode, ...]:
    joined: list[PlanNode] = []
    for node in nodes:
        if isinstance(node, Raw) and joined and isinstance(last := joined[-1], Raw):
            joined[-1] = Raw(last.lines + node.lines)
        else:
            joined.append(node)
    # blank lines between nodes are layout, not text
    return tuple(
        node if not isinstance(node, Raw) else Raw(_strip_blank(node.lines))
        for node in joined
        if not (isinstance(node, Raw) and not any(line.strip() for line in node.lines))
    )


def _strip_blank(lines: tuple[str, ...]) -> tuple[str, ...]:
    start, end = 0, len(lines)
    while start < end and not lines[start].strip():
        start += 1
    while end > start and not lines[end - 1].strip():
        end -= 1
    return lines[start:end]


def render(document: PlanDocument) -> str:
    """Write a plan.md: what `parse` reads back as the same document."""
    parts: list[str] = []
    before: PlanNode | None = None
    for node in document.nodes:
        tight = (isinstance(node, TaskNode) and isinstance(before, TaskNode)) or (
            isinstance(node, ListItem) and isinstance(before, ListItem)
        )
        if before is not None and not tight:
            parts.append("")
        match node:
            case Raw(lines):
                parts += lines
            case Heading(name):
                parts.append(f"## {name}")
            case GoalText(text):
                parts += [f"\\{line}" if _NEEDS_ESCAPE.match(line) else line for line in lines_of(text)]
            case TaskNode(task):
                parts += render_task(task)
            case ListItem(text):
                parts.append(f"- {text}")
        before = node
    return "\n".join(parts) + "\n"


def new_document(plan: Plan, header: Header) -> PlanDocument:
    """Lay out a fresh plan.md."""
    nodes: list[PlanNode] = [Raw((_title(plan), "", header.render()))]
    nodes += [Heading(name) for name in _SECTIONS]
    nodes.insert(3, Raw(template(1)))
    if goal := normal_text(plan.goal):
        nodes.insert(2, GoalText(goal))
    return update(PlanDocument(tuple(nodes)), plan, header)


def taken_over(document: PlanDocument, plan: Plan, header: Header) -> PlanDocument:
    """Put a run's plan into the file of another run: its user's words stay; its title, its goal and its tasks go."""
    nodes: list[PlanNode] = []
    for node in document.nodes:
        match node:
            case Raw(lines):
                nodes.append(Raw(tuple(_title(plan) if line.startswith(_TITLE) else line for line in lines)))
            case GoalText():
                nodes.append(GoalText(normal_text(plan.goal)))
            case TaskNode():
                pass  # kept, it would be read as a task of this run
            case _:
                nodes.append(node)
    return update(PlanDocument(tuple(nodes)), plan, header)


def _title(plan: Plan) -> str:
    title = normal_line(plan.goal)
    return _TITLE + (title if len(title) <= 72 else title[:69].rstrip() + "...")


def update(
    document: PlanDocument, plan: Plan, header: Header, *, done: Sequence[str] = (), next_up: Sequence[str] = ()
) -> PlanDocument:
    """Put a plan's newest state into a document, the user's own text kept: tasks in place, new ones after the last."""
    by_id = {task.id: task for task in plan.tasks}
    nodes = [_with_header(node, header) if isinstance(node, Raw) else node for node in document.nodes]
    nodes = [TaskNode(by_id.pop(n.task.id)) if isinstance(n, TaskNode) and n.task.id in by_id else n for n in nodes]
    places = [at for at, node in enumerate(nodes) if isinstance(node, TaskNode)]
    heading = next(at for at, node in enumerate(nodes) if isinstance(node, Heading) and node.name.casefold() == "tasks")
    # below a heading without tasks, after the user's words: indented ones would become a part of the task before them
    end = next((at for at in range(heading + 1, len(nodes)) if isinstance(nodes[at], Heading)), len(nodes))
    if end > heading + 1 and isinstance(last := nodes[end - 1], Raw) and _is_template(last):
        end -= 1
    after = places[-1] + 1 if places else end
    nodes[after:after] = [TaskNode(task) for task in by_id.values()]
    for section, items in (("later", plan.later), ("done", done), ("next", next_up), ("risks", plan.risks)):
        nodes = _with_items(nodes, section, items)
    own = [line for node in nodes if isinstance(node, Raw) for line in node.lines]
    number = next_number((task.id for task in plan.tasks), own)
    nodes = [Raw(with_next_number(node.lines, number)) if isinstance(node, Raw) else node for node in nodes]
    return PlanDocument(tuple(nodes))


def _is_template(node: Raw) -> bool:
    return has_template(node.lines[:1])


def _with_header(node: Raw, header: Header) -> Raw:
    return Raw(tuple(header.render() if line.startswith(MARKER) else line for line in node.lines))


def with_header(document: PlanDocument, header: Header) -> PlanDocument:
    """Make a document that a user wrote a run's: its text stays, and the header comes below its title."""
    first = document.nodes[0] if document.nodes else None
    titled = isinstance(first, Raw) and first.lines[0].startswith("# ")
    title = first.lines if isinstance(first, Raw) and titled else ()
    head = Raw((*title[:1], *([""] if title else []), header.render(), *title[1:]))
    return PlanDocument((head, *_with_template(document.nodes[1 if titled else 0 :])))


def _with_template(nodes: Sequence[PlanNode]) -> list[PlanNode]:
    """Add the template below the last task, where a user's file has none."""
    if any(isinstance(node, Raw) and has_template(node.lines) for node in nodes):
        return list(nodes)
    last = max((at for at, node in enumerate(nodes) if isinstance(node, TaskNode)), default=None)
    return list(nodes) if last is None else [*nodes[: last + 1], Raw(template(1)), *nodes[last + 1 :]]


def _with_items(nodes: list[PlanNode], section: str, items: Sequence[str]) -> list[PlanNode]:
    """Replace a section's items, or add the section; without items a missing section stays missing."""
    wanted = [ListItem(line) for line in dict.fromkeys(normal_line(item) for item in items) if line]
    start = next((at for at, n in enumerate(nodes) if isinstance(n, Heading) and n.name.casefold() == section), None)
    if start is None:
        return [*nodes, Heading(section.capitalize()), *wanted] if wanted else nodes
    end = next((at for at in range(start + 1, len(nodes)) if isinstance(nodes[at], Heading)), len(nodes))
    others = [node for node in nodes[start + 1 : end] if not isinstance(node, ListItem)]
    return [*nodes[: start + 1], *wanted, *others, *nodes[end:]]


def normal_line(text: str) -> str:
    """Return text as one line, as plan.md can hold it: what a terminal would obey is escaped, as people print the file."""
    return clean_line(" ".join(text.split()))


def normal_text(text: str) -> str:
    """Return text as plan.md can hold it: lines without trailing space, none blank at the ends, controls escaped."""
    return clean("\n".join(line.rstrip() for line in lines_of(text)).strip("\n"))


def normal_plan(plan: Plan) -> Plan:
    """Return a plan as plan.md can hold it; `document.plan()` gives just this back."""
    return replace(
        plan,
        goal=normal_text(plan.goal),
        summary="",
        questions=(),
        tasks=tuple(normal_task(task) for task in plan.tasks),
        later=tuple(dict.fromkeys(line for line in map(normal_line, plan.later) if line)),
        risks=tuple(dict.fromkeys(line for line in map(normal_line, plan.risks) if line)),
    )
