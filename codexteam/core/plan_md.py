"""plan.md: the people's view of a plan, and theirs to edit. `parse` and `render` round-trip; free text is kept.

A document is a list of nodes in the order of the file. What is recognised (the goal, tasks, items of Later and Risks)
is replaced when the plan changes; every other line stays where it was.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TypeAlias

from codexteam.core.ids import TaskId
from codexteam.core.plan import Plan, Task
from codexteam.core.plan_md_task import TASK_START, lines_of, normal_task, parse_task, render_task
from codexteam.core.text import clean, clean_line
from codexteam.errors import PlanError

#: How a file says that it is ours.
MARKER = "<!-- codexteam run "


@dataclass(frozen=True, slots=True)
class Header:
    """What the comment below the title says of the run."""

    run_id: str
    base: str
    branch: str

    def render(self) -> str:
        """Give the comment."""
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
class Item:
    """One `- ` line below Later, Done, Next or Risks."""

    text: str


Node: TypeAlias = Raw | Heading | GoalText | TaskNode | Item

_NEEDS_ESCAPE = re.compile(r"\\*#")
_ESCAPED = re.compile(r"\\+#")
_LISTS = ("later", "done", "next", "risks")
_SECTIONS = ("Goal", "Tasks", "Later", "Done", "Next", "Risks")


@dataclass(frozen=True, slots=True)
class PlanDocument:
    """A plan.md, read."""

    nodes: tuple[Node, ...]

    def plan(self) -> Plan:
        """Give the plan that stands in it."""
        goal = next((node.text for node in self.nodes if isinstance(node, GoalText)), "")
        tasks = tuple(node.task for node in self.nodes if isinstance(node, TaskNode))
        return Plan(goal, tasks=tasks, later=self.items("later"), risks=self.items("risks"))

    def items(self, section: str) -> tuple[str, ...]:
        """Give the items of a list section, by its name in lower case."""
        found: list[str] = []
        here = ""
        for node in self.nodes:
            if isinstance(node, Heading):
                here = node.name.casefold()
            elif isinstance(node, Item) and here == section:
                found.append(node.text)
        return tuple(found)


def is_ours(text: str) -> bool:
    """Say whether a plan.md was written by codexteam: a line of it, outside of tasks, begins with the marker."""
    if MARKER not in text:
        return False
    try:
        lines = [line for node in parse(text).nodes for line in _own_lines(node)]
    except PlanError:
        # in the middle of an edit: what could be ours is not written over
        lines = list(lines_of(text.removeprefix("\ufeff")))
    return any(line.startswith(MARKER) for line in lines)


def _own_lines(node: Node) -> Sequence[str]:
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
    nodes: list[Node] = []
    section = ""
    at = 0
    seen: dict[TaskId, int] = {}
    fenced = False
    while at < len(lines):
        line = lines[at]
        # a goal goes on to the next heading, whatever it opens; a task's fences are its own
        if section not in {"tasks", "goal"} and line.lstrip().startswith("```"):
            fenced = not fenced
        if line.startswith("## ") and not fenced:
            section = line[3:].strip().casefold()
            nodes.append(Heading(line[3:].strip()))
            at += 1
        elif section == "goal":
            at, goal = _goal(lines, at)
            # an empty section is no goal: one further down may be
            nodes += [goal] if goal.text else []
        elif section == "tasks" and TASK_START.match(line):
            start = at + 1
            at, task = parse_task(lines, at)
            if task.id in seen:
                raise PlanError(f"plan.md:{start}: task {task.id} is there twice, first in line {seen[task.id]}")
            seen[task.id] = start
            nodes.append(TaskNode(task))
        elif section in _LISTS and line.startswith("- ") and not fenced:
            nodes.append(Item(line[2:].strip()))
            at += 1
        else:
            _refuse_near_task(section, line, at + 1)
            nodes.append(Raw((line,)))
            at += 1
    if not any(isinstance(node, Heading) and node.name.casefold() == "tasks" for node in nodes):
        hint = "tasks stand below a line `## Tasks`, each as `- [ ] **T1** title`"
        raise PlanError("plan.md: there is no `## Tasks` section", hint=hint)
    return PlanDocument(_join_raw(nodes))


def _refuse_near_task(section: str, line: str, number: int) -> None:
    """An edit that was meant to be a task must not silently become free text."""
    if section == "tasks" and line.startswith(("- [", "* [")):
        found = line if len(line) <= 60 else line[:57] + "..."
        hint = "a task is `- [ ] **T7** title`, its mark one of space, ~, x, !, -"
        raise PlanError(f"plan.md:{number}: cannot read this task: {found}", hint=hint)


def _goal(lines: Sequence[str], at: int) -> tuple[int, GoalText]:
    body: list[str] = []
    while at < len(lines) and not lines[at].startswith("## "):
        line = lines[at]
        body.append(line[1:] if _ESCAPED.match(line) else line)
        at += 1
    return at, GoalText("\n".join(body).strip("\n"))


def _join_raw(nodes: Sequence[Node]) -> tuple[Node, ...]:
    joined: list[Node] = []
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
    before: Node | None = None
    for node in document.nodes:
        tight = (isinstance(node, TaskNode) and isinstance(before, TaskNode)) or (
            isinstance(node, Item) and isinstance(before, Item)
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
            case Item(text):
                parts.append(f"- {text}")
        before = node
    return "\n".join(parts) + "\n"


def new_document(plan: Plan, header: Header) -> PlanDocument:
    """Lay out a fresh plan.md."""
    title = normal_line(plan.goal)
    title = title if len(title) <= 72 else title[:69].rstrip() + "..."
    nodes: list[Node] = [Raw((f"# Plan: {title}", "", header.render()))]
    nodes += [Heading(name) for name in _SECTIONS]
    if goal := normal_text(plan.goal):
        nodes.insert(2, GoalText(goal))
    return update(PlanDocument(tuple(nodes)), plan, header)


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
    after = places[-1] + 1 if places else end
    nodes[after:after] = [TaskNode(task) for task in by_id.values()]
    for section, items in (("later", plan.later), ("done", done), ("next", next_up), ("risks", plan.risks)):
        nodes = _with_items(nodes, section, items)
    return PlanDocument(tuple(nodes))


def _with_header(node: Raw, header: Header) -> Raw:
    return Raw(tuple(header.render() if line.startswith(MARKER) else line for line in node.lines))


def _with_items(nodes: list[Node], section: str, items: Sequence[str]) -> list[Node]:
    """Replace a section's items, or add the section; without items a missing section stays missing."""
    wanted = [Item(line) for line in dict.fromkeys(normal_line(item) for item in items) if line]
    start = next((at for at, n in enumerate(nodes) if isinstance(n, Heading) and n.name.casefold() == section), None)
    if start is None:
        return [*nodes, Heading(section.capitalize()), *wanted] if wanted else nodes
    end = next((at for at in range(start + 1, len(nodes)) if isinstance(nodes[at], Heading)), len(nodes))
    others = [node for node in nodes[start + 1 : end] if not isinstance(node, Item)]
    return [*nodes[: start + 1], *wanted, *others, *nodes[end:]]


def normal_line(text: str) -> str:
    """Give text as one line, as plan.md can hold it: what a terminal would obey is escaped, as people print the file."""
    return clean_line(" ".join(text.split()))


def normal_text(text: str) -> str:
    """Give text as plan.md can hold it: lines without trailing space, none blank at the ends, controls escaped."""
    return clean("\n".join(line.rstrip() for line in lines_of(text)).strip("\n"))


def normal_plan(plan: Plan) -> Plan:
    """Give a plan as plan.md can hold it; `document.plan()` gives just this back."""
    return replace(
        plan,
        goal=normal_text(plan.goal),
        summary="",
        questions=(),
        tasks=tuple(normal_task(task) for task in plan.tasks),
        later=tuple(dict.fromkeys(line for line in map(normal_line, plan.later) if line)),
        risks=tuple(dict.fromkeys(line for line in map(normal_line, plan.risks) if line)),
    )
