"""One task in plan.md: its lines, read and written."""

import re
from collections.abc import Sequence
from dataclasses import replace
from difflib import get_close_matches

from codexteam.core.ids import FindingId, TaskId
from codexteam.core.plan import Acceptance, Task, TaskStatus
from codexteam.core.plan_md_near import KEYS, near_field, near_task
from codexteam.core.text import clean, clean_line
from codexteam.errors import PlanError

#: The first line of a task.
TASK_START = re.compile(r"- \[(.)\] \*\*(T[0-9]+)\*\*(?: (.*))?$")
_TAIL = re.compile(r"^(?P<title>.*?)(?:(?:^| )`(?P<role>[^`]+)`)?(?: \(effort (?P<effort>[^()]*)\))?$")
_FIELD = re.compile(r"  - (?P<key>[a-z]+): ?(?P<value>.*)$")
_SPAN = re.compile(r"(?<!`)(?P<fence>`+)(?!`)(?P<body>.+?)(?<!`)(?P=fence)(?!`)")
_OPENING = re.compile(r"    (?P<fence>`{3,})[^`]*$")
_DOTTED_COMMAND = re.compile(r":\s*(?P<fence>`+)[^`]+(?P=fence)\s*[.,;!]+$")
_IN_WORDS = "end the line in a backslash where no command is meant"


def lines_of(text: str) -> list[str]:
    """Give a text's lines; unlike `str.splitlines`, only ends of lines that editors make end one."""
    return text.replace("\r\n", "\n").replace("\r", "\n").split("\n")


def parse_task(lines: Sequence[str], at: int) -> tuple[int, Task]:
    """Read the task whose first line is `lines[at]`; give the index after its last line, and the task.

    Raises:
        PlanError: names the line.
    """
    start = TASK_START.match(lines[at])
    if start is None:
        raise PlanError(f"plan.md:{at + 1}: this is no task")
    task = _first_line(start, at + 1)
    at += 1
    description: list[str] = []
    above = ""  # the key of the field in the line before
    while at < len(lines) and (lines[at].startswith("  ") or _continues(lines, at)):
        field = _FIELD.match(lines[at])
        if field and field["key"] in KEYS:
            at, task = _take_field(task, field, lines, at)
            above = field["key"]
            continue
        if field and (close := get_close_matches(field["key"], KEYS, n=1, cutoff=0.75)):
            raise PlanError(
                f"plan.md:{at + 1}: unknown key {field['key']!r} of {task.id}", hint=f"did you mean {close[0]!r}?"
            )
        line = lines[at][2:].rstrip()
        refuse_misread(line, at + 1, task.id)
        if above and line[:1].isspace():
            found = f"this line goes on from the {above} of {task.id}: {_short(line)}"
            raise PlanError(
                f"plan.md:{at + 1}: {found}", hint="a field stands on one line; words are not indented below it"
            )
        above = ""
        description.append(line.removeprefix("\\"))
        at += 1
    return at, replace(task, description="\n".join(description).strip("\n"))


def refuse_misread(line: str, number: int, task_id: TaskId | None) -> None:
    """Refuse words that were meant as a field of a task, or as another task. Without a task above there are no fields.

    Raises:
        PlanError: names the line, and how it is written.
    """
    # where it does say that, it is written with a backslash, as `_escaped` does
    words = f"as words it begins with a backslash: \\{_short(line.strip())}"
    if task_id and (key := near_field(line)):
        found = f"plan.md:{number}: this looks like {key!r} of {task_id}, but is not written so: {_short(line)}"
        raise PlanError(found, hint=f"a field is `- {key}: ...`, indented by two spaces; {words}")
    if near_task(line):
        found = f"plan.md:{number}: cannot read this task: {_short(line)}"
        raise PlanError(found, hint=f"a task is `- [ ] **T7** title`, not indented; {words}")


def _short(line: str) -> str:
    return line if len(line) <= 60 else line[:57] + "..."


def _continues(lines: Sequence[str], at: int) -> bool:
    """Say whether a blank line stands inside a description."""
    ahead = at
    while ahead < len(lines) and not lines[ahead].strip():
        ahead += 1
    return ahead > at and ahead < len(lines) and lines[ahead].startswith("  ")


def _first_line(start: re.Match[str], number: int) -> Task:
    mark, name, rest = start.groups(default="")
    try:
        status = TaskStatus(mark)
    except ValueError:
        allowed = ", ".join(repr(known.value) for known in TaskStatus)
        raise PlanError(f"plan.md:{number}: mark {mark!r} of {name}: one of {allowed} is allowed") from None
    tail = _TAIL.match(rest.strip())
    title, role, effort = tail.groups() if tail else (rest, None, None)
    if effort is not None and effort not in {"1", "2", "3", "4", "5"}:
        raise PlanError(f"plan.md:{number}: effort {effort!r} of {name}: 1 to 5 is allowed")
    if effort is None and "(effort" in rest.casefold():
        raise PlanError(
            f"plan.md:{number}: cannot read the effort of {name}: {_short(rest)}",
            hint="it stands last, after a blank: title `role` (effort 2)",
        )
    if not title.strip():
        raise PlanError(f"plan.md:{number}: task {name} has no title")
    return Task(TaskId(name), title.strip(), role=role or "implementer", effort=int(effort or 1), status=status)


def _take_field(task: Task, field: re.Match[str], lines: Sequence[str], at: int) -> tuple[int, Task]:
    value = field["value"].strip()
    where = f"plan.md:{at + 1}: {field['key']} of {task.id}"
    match field["key"]:
        case "after":
            return at + 1, replace(task, deps=task.deps + tuple(map(TaskId, _ids(value, "T", where))))
        case "fixes":
            return at + 1, replace(task, fixes=task.fixes + tuple(map(FindingId, _ids(value, "F", where))))
        case "paths":
            paths = tuple(_unspan(found["body"]) for found in _SPAN.finditer(value))
            outside = " ".join(_SPAN.sub(" ", value).replace(",", " ").split())
            if outside or not all(path.strip() for path in paths) or not paths:
                found = f"{outside!r} is not in backticks" if paths and outside else repr(value)
                raise PlanError(
                    f"{where}: {found}", hint="each path stands in backticks: - paths: `src/a.py`, `tests/`"
                )
            return at + 1, replace(task, paths=task.paths + paths)
        case _:
            end, acceptance = _acceptance(value, lines, at, where)
            return end, replace(task, acceptance=(*task.acceptance, acceptance))


def _ids(value: str, letter: str, where: str) -> list[str]:
    names = [name for name in re.split(r"[,\s]+", value) if name]
    if not names:
        raise PlanError(f"{where}: no id stands here", hint="leave the line out where there is none")
    for name in names:
        if not re.fullmatch(rf"{letter}[0-9]+", name):
            raise PlanError(
                f"{where}: {name!r} is no id", hint=f"ids look like {letter}1, {letter}2, separated by commas"
            )
    return names


def _acceptance(value: str, lines: Sequence[str], at: int, where: str) -> tuple[int, Acceptance]:
    opening = _OPENING.match(lines[at + 1]) if at + 1 < len(lines) else None
    end, before, command = at + 1, value, None
    if opening and (value.endswith(":") or not value):
        end, command = _block(lines, at + 1, opening["fence"])
    elif split := _split_command(value, where):
        before, command = split
    if command is None:
        if not value:
            raise PlanError(f"{where}: nothing stands here", hint="- accept: what must hold: `a command that shows it`")
        return end, Acceptance(value.removesuffix("\\"), None)
    if not command.strip():
        raise PlanError(f"{where}: its command is empty", hint=_IN_WORDS)
    # a command alone is its own criterion
    return end, Acceptance(before.removesuffix(":").rstrip() or " ".join(command.split()), command)


def _block(lines: Sequence[str], at: int, fence: str) -> tuple[int, str]:
    """Read a command of several lines; give the index after its end, and the command."""
    end = at + 1
    while end < len(lines) and lines[end].strip() != fence:
        # not indented, as a command's lines are: its end is missing, and it would take in the next task
        if TASK_START.match(lines[end]) or lines[end].startswith("## "):
            break
        end += 1
    if end == len(lines) or lines[end].strip() != fence:
        raise PlanError(f"plan.md:{at + 1}: this {fence} is never closed", hint=f"a line `    {fence}` closes it")
    return end + 1, "\n".join(line.removeprefix("    ") for line in lines[at + 1 : end])


def _split_command(value: str, where: str) -> tuple[str, str] | None:
    """Give what is before a line's command, and the command; None where there is none.

    Raises:
        PlanError: it could be meant as a command, and would never be run.
    """
    runs = list(re.finditer("`+", value))
    if runs and runs[-1].end() == len(value):
        # the command's span is found from its end: a criterion may hold backticks of its own
        opening = next((run for run in reversed(runs[:-1]) if run[0] == runs[-1][0]), None)
        before = value[: opening.start()].rstrip() if opening else None
        if opening and before is not None and (not before or before.endswith(":")):
            return before, _unspan(value[opening.end() : runs[-1].start()])
    if not _reads_as_command(value):
        return None
    raise PlanError(
        f"{where}: is a command meant? found {_short(value)}",
        hint=f"a command ends the line: - accept: what must hold: `pytest -q`; {_IN_WORDS}",
    )


def _reads_as_command(criterion: str) -> bool:
    return criterion.endswith(("`", ":")) or _DOTTED_COMMAND.search(criterion) is not None


def render_task(task: Task) -> list[str]:
    """Write a task as lines, without a blank one at the end."""
    task = normal_task(task)
    lines = [f"- [{task.status.value}] **{task.id}** {task.title} `{task.role}` (effort {task.effort})"]
    # what looks like one of our fields, or like an escape, is the description's own text
    description = lines_of(task.description) if task.description else []
    lines += [f"  {_escaped(line)}" if line else "" for line in description]
    if task.deps:
        lines.append(f"  - after: {', '.join(task.deps)}")
    if task.paths:
        lines.append(f"  - paths: {', '.join(map(_span, task.paths))}")
    for accept in task.acceptance:
        lines += _render_acceptance(accept)
    if task.fixes:
        lines.append(f"  - fixes: {', '.join(task.fixes)}")
    return lines


def _escaped(line: str) -> str:
    meant_else = line.startswith(("\\", "- ")) or line[0].isspace() or near_field(line) or near_task(line)
    return f"\\{line}" if meant_else else line


def _render_acceptance(accept: Acceptance) -> list[str]:
    if accept.command is None:
        # a criterion that ends like a command or an open block would be read as one
        ends_open = accept.criterion.endswith("\\") or _reads_as_command(accept.criterion)
        return [f"  - accept: {accept.criterion}" + ("\\" if ends_open else "")]
    if "\n" in accept.command:
        fence = "`" * max(3, _longest_run(accept.command) + 1)
        body = [f"    {line}" for line in accept.command.split("\n")]
        return [f"  - accept: {accept.criterion}:", f"    {fence}", *body, f"    {fence}"]
    return [f"  - accept: {accept.criterion}: {_span(accept.command)}"]


def _longest_run(text: str) -> int:
    return max((len(run) for run in re.findall("`+", text)), default=0)


def _span(text: str) -> str:
    """Write text as a Markdown code span."""
    fence = "`" * (_longest_run(text) + 1)
    # one space on each side is taken off again by readers of Markdown, and by `_unspan`
    pad = " " if text.startswith(("`", " ")) or text.endswith(("`", " ")) else ""
    return f"{fence}{pad}{text}{pad}{fence}"


def _unspan(body: str) -> str:
    if len(body) > 2 and body[0] == body[-1] == " ":
        return body[1:-1]
    return body


def normal_task(task: Task) -> Task:
    """Give a task as plan.md can hold it: one-line title and criteria, no empty paths, controls escaped."""
    lines = [line.rstrip() for line in lines_of(task.description)]
    return replace(
        task,
        title=clean_line(" ".join(task.title.split())) or str(task.id),
        role=clean_line(" ".join(task.role.replace("`", "").split())) or "implementer",
        description=clean("\n".join(lines).strip("\n")),
        paths=tuple(clean_line(line) for path in task.paths if (line := " ".join(lines_of(path)).strip())),
        acceptance=tuple(_normal_acceptance(accept) for accept in task.acceptance),
    )


def _normal_acceptance(accept: Acceptance) -> Acceptance:
    command = accept.command.rstrip() if accept.command and accept.command.strip() else None
    if command is not None:
        command = clean("\n".join(lines_of(command)))
    criterion = " ".join(accept.criterion.split()) or " ".join((command or "holds").split())
    return Acceptance(clean_line(criterion), command)
