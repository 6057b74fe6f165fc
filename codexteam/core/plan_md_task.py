"""One task in plan.md: its lines, read and written."""

import re
from collections.abc import Sequence
from dataclasses import replace
from difflib import get_close_matches

from codexteam.core.budget_text import TASK_BUDGET_FORMS, TaskBudget, read_amount, read_task_budget
from codexteam.core.ids import FindingId, TaskId
from codexteam.core.plan_graph import Acceptance, OwedTests, Task, TaskRisk, TaskStatus
from codexteam.core.text import clean, clean_line
from codexteam.errors import PlanError

#: The fields of a task.
KEYS = ("after", "paths", "accept", "tests", "budget", "fixes", "priority", "model", "reasoning", "risk")

#: What people write for a field when they guess, and mean just that.
MEANT = {
    "after": "dep deps depend depends depends-on dependency dependencies needs requires prerequisites blocked-by waits-for",
    "paths": "path file files scope writes globs",
    "accept": "accepts acceptance acceptance-criteria criterion criteria",
    "tests": "",
    "budget": "budgets",
    "fixes": "fix findings",
    "priority": "priorities",
    "model": "models",
    "reasoning": "reasoning-effort model-effort model-reasoning-effort thinking",
    "risk": "risks",
}
_KEY_OF = {name: key for key, names in MEANT.items() for name in (key, *names.split())}

#: What is a command or words, nobody knows: such a field is refused.
_CHECKS = frozenset(("test", "check", "checks", "verify", "command", "commands", "cmd", "run"))
#: What stands in a task's first line.
_FIRST_LINE = {
    "role": "`implementer`",
    "agent": "`implementer`",
    "effort": "(effort 2)",
    "size": "(effort 2)",
    "title": "title",
    "id": "**T7**",
    "status": "[ ]",
}


def meant_key(name: str) -> str:
    """Return the field that a key means, even if it is a guess; empty if it means none."""
    return _KEY_OF.get(re.sub(r"[ _-]+", "-", name.strip().lower()), "")


def right_key(name: str) -> str:
    """Say what to write for a key that means no field; empty where nothing is close."""
    name = name.strip().lower()
    if name in _CHECKS:
        return "a check is written as - accept: what must hold: `a command that exits with 0`"
    if name in _FIRST_LINE:
        shown = f"{_FIRST_LINE[name]} in the task's first line"
        return f"write it as {shown}: - [ ] **T7** title `implementer` (effort 2)"
    close = get_close_matches(name, _KEY_OF, n=1, cutoff=0.75)
    return f"did you mean {_KEY_OF[close[0]]!r}?" if close else ""


# what people and editors begin a list's items with: the dashes and dots of word processors too
_BULLET = r"(?:[-*+\u2022\u2023\u00b7\u2010-\u2015\u2212]|[0-9]+[.)])"
_BOX = r"\[[^\]]{0,3}\]"
_NAMES = "|".join(name.replace("-", "[ _-]") for name in sorted((*_KEY_OF, *_CHECKS), key=len, reverse=True))
_KEY = rf"[*_`]{{0,3}}(?P<key>{_NAMES})[*_`]{{0,3}}"
_LISTED_FIELD = re.compile(
    rf"\s*{_BULLET}\s*(?:{_BOX}\s*)?{_KEY}(?:\s*[:=\uff1a]|(?:\s+[*_`]{{0,3}}[TF][0-9]+[*_`]{{0,3}},?)+\s*$)",
    re.IGNORECASE,
)
_BARE_FIELD = re.compile(rf"\s*{_KEY}\s*[:\uff1a](?P<value>.*)", re.IGNORECASE)
_PRIORITY = re.compile(r"[+-]?[0-9]{1,4}")
#: What a priority may look like.
PRIORITY_FORMS = "a whole number from -9999 to 9999; tasks of a higher one are started first, and 0 is the default"
#: What `tests` may say.
TESTS_FORMS = (
    "allowed: required (a test that fails without its code), existing (tests that are there run it), none; a check is written "
    "as - accept: what must hold: `a command that exits with 0`"
)
#: The efforts that a model may be asked for, least first.
EFFORTS = ("none", "minimal", "low", "medium", "high", "xhigh")
#: What fields of one word may say.
_WORDS = {"reasoning": EFFORTS, "risk": tuple(risk.value for risk in TaskRisk)}
_MODEL = re.compile(r"[^\s`\x00-\x1f]{1,200}")
_IDS = {
    key: re.compile(rf"[\s*_`]*{letter}[0-9]+\b", re.IGNORECASE) for key, letter in (("after", "T"), ("fixes", "F"))
}
_TASK = re.compile(
    rf"\s*(?:(?:{_BULLET}\s*)?{_BOX}\s*[*_`]{{0,3}}T[0-9]+\b|{_BULLET}\s*(?:\*\*|__)T[0-9]+\b)", re.IGNORECASE
)
_LISTED_BOX = re.compile(rf"- \[|\* \[|{_BULLET}\s*\[.?\](?!\()")


def near_field(line: str) -> str:
    """Return the key of the field that a line was meant as; empty where it is words."""
    if listed := _LISTED_FIELD.match(line):
        return _field(listed["key"])
    # without a list's mark the word alone says little: "After: the import is faster"
    bare = _BARE_FIELD.match(line)
    if bare is None:
        return ""
    key = _field(bare["key"])
    meant: object = _IDS[key].match(bare["value"]) if key in _IDS else "`" in bare["value"]
    if key == "budget":
        meant = read_amount(bare["value"].split(",")[0])
    if key == "tests":
        meant = bare["value"].strip() in {*OwedTests} or "`" in bare["value"]
    if key == "priority":
        meant = _PRIORITY.fullmatch(bare["value"].strip())
    if key in _WORDS:
        meant = bare["value"].strip() in _WORDS[key]
    return key if meant else ""


def _field(name: str) -> str:
    return meant_key(name) or "accept"


def near_task(line: str) -> bool:
    """Return whether a line was meant as a task's first: it has the box or the mark of a list, and the id."""
    return _TASK.match(line) is not None


def near_box(line: str) -> bool:
    """Return whether a line is an item with a box, as tasks are; such items are not free text between tasks."""
    return _LISTED_BOX.match(line) is not None


#: The first line of a task.
TASK_START = re.compile(r"- \[(.)\] \*\*(T[0-9]+)\*\*(?: (.*))?$")
_TAIL = re.compile(r"^(?P<title>.*?)(?:(?:^| )`(?P<role>[^`]+)`)?(?: \(effort (?P<effort>[^()]*)\))?$")
_FIELD = re.compile(r"  - (?P<key>[A-Za-z]+(?:[ _-][A-Za-z]+)?): ?(?P<value>.*)$")
# two words before a colon are words, and so is what has no blank after it, as an address
_UNKNOWN = re.compile(r"  - (?P<key>[a-z]+(?:_[a-z]+)*):(?: |$)")
_SPAN = re.compile(r"(?<!`)(?P<fence>`+)(?!`)(?P<body>.+?)(?<!`)(?P=fence)(?!`)")
_OPENING = re.compile(r"    (?P<fence>`{3,})[^`]*$")
_DOTTED_COMMAND = re.compile(r":\s*(?P<fence>`+)[^`]+(?P=fence)\s*[.,;!]+$")
_IN_WORDS = "end the line in a backslash where no command is meant"


def lines_of(text: str) -> list[str]:
    """Return a text's lines; unlike `str.splitlines`, only ends of lines that editors make end one."""
    return text.replace("\r\n", "\n").replace("\r", "\n").split("\n")


def parse_task(lines: Sequence[str], at: int) -> tuple[int, Task]:
    """Read the task whose first line is `lines[at]`; give the index after its last line, and the task.

    Raises:
        PlanError: names the line.
    """
    start = TASK_START.match(lines[at])
    if start is None:
        raise PlanError(f"plan.md:{at + 1}: this is not a task")
    task = _first_line(start, at + 1)
    at += 1
    description: list[str] = []
    above = ""  # the key of the field in the line before
    while at < len(lines) and (lines[at].startswith("  ") or _continues(lines, at)):
        field = _FIELD.match(lines[at])
        if field and (key := _key_of(field["key"])):
            at, task = _take_field(task, key, field["value"].strip(), lines, at)
            above = key
            continue
        _refuse_unknown_key(lines[at], at + 1, task.id)
        line = lines[at][2:].rstrip()
        refuse_misread(line, at + 1, task.id)
        if above and line[:1].isspace():
            found = f"this line continues from the {above} of {task.id}: {_short(line)}"
            raise PlanError(f"plan.md:{at + 1}: {found}", hint="a field is one line; do not indent text below it")
        above = ""
        description.append(line.removeprefix("\\"))
        at += 1
    return at, replace(task, description="\n".join(description).strip("\n"))


def _key_of(name: str) -> str:
    """Return the field that a key means. One of ours in capitals is left to `refuse_misread`, as other near forms are."""
    return "" if name not in KEYS and name.lower() in KEYS else meant_key(name)


def _refuse_unknown_key(line: str, number: int, task_id: TaskId) -> None:
    found = _UNKNOWN.match(line)
    if found and (hint := right_key(found["key"])):
        words = f"as words the line begins with a backslash: \\{_short(line.strip())}"
        raise PlanError(f"plan.md:{number}: unknown key {found['key']!r} of {task_id}", hint=f"{hint}; {words}")


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
    """Return whether a blank line stands inside a description."""
    ahead = at
    while ahead < len(lines) and not lines[ahead].strip():
        ahead += 1
    return ahead > at and ahead < len(lines) and lines[ahead].startswith("  ")


def _first_line(start: re.Match[str], number: int) -> Task:
    mark, name, rest = start.groups(default="")
    try:
        status = TaskStatus(mark.lower())
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
            hint="put it last, after a space: title `role` (effort 2)",
        )
    if not title.strip():
        raise PlanError(f"plan.md:{number}: task {name} has no title")
    return Task(TaskId(name), title.strip(), role=role or "implementer", effort=int(effort or 1), status=status)


def _take_field(task: Task, key: str, value: str, lines: Sequence[str], at: int) -> tuple[int, Task]:
    where = f"plan.md:{at + 1}: {key} of {task.id}"
    match key:
        case "after":
            return at + 1, replace(task, deps=task.deps + tuple(map(TaskId, _ids(value, "T", where))))
        case "fixes":
            return at + 1, replace(task, fixes=task.fixes + tuple(map(FindingId, _ids(value, "F", where))))
        case "budget":
            return at + 1, replace(task, budget=_budget(task, value, where))
        case "priority":
            if not _PRIORITY.fullmatch(value):
                raise PlanError(f"{where}: {_short(value)!r} is not a number", hint=f"allowed: {PRIORITY_FORMS}")
            return at + 1, replace(task, priority=int(value))
        case "tests":
            if value.strip("`") not in {*OwedTests}:
                raise PlanError(f"{where}: {_short(value)!r} is not one of its words", hint=TESTS_FORMS)
            return at + 1, replace(task, tests=OwedTests(value.strip("`")))
        case "model" | "reasoning" | "risk":
            return at + 1, _choose(task, key, value, where)
        case "paths":
            paths = tuple(_unspan(found["body"]) for found in _SPAN.finditer(value))
            outside = " ".join(_SPAN.sub(" ", value).replace(",", " ").split())
            if outside or not all(path.strip() for path in paths) or not paths:
                found = f"{outside!r} is not in backticks" if paths and outside else repr(value)
                raise PlanError(f"{where}: {found}", hint="put each path in backticks: - paths: `src/a.py`, `tests/`")
            return at + 1, replace(task, paths=task.paths + paths)
        case _:
            end, acceptance = _acceptance(value, lines, at, where)
            return end, replace(task, acceptance=(*task.acceptance, acceptance))


def _choose(task: Task, key: str, value: str, where: str) -> Task:
    word = value[1:-1] if len(value) > 2 and value[0] == value[-1] == "`" else value
    if key == "model":
        if not _MODEL.fullmatch(word):
            raise PlanError(
                f"{where}: {_short(value)!r} is not the name of a model", hint="for example - model: gpt-5.4"
            )
        return replace(task, model=word)
    if word not in _WORDS[key]:
        raise PlanError(
            f"{where}: {_short(value)!r} is not one of its words", hint=f"allowed: {', '.join(_WORDS[key])}"
        )
    return replace(task, reasoning=word) if key == "reasoning" else replace(task, risk=TaskRisk(word))


def _budget(task: Task, value: str, where: str) -> TaskBudget:
    if task.budget is not None:
        raise PlanError(f"{where}: there is one above", hint="put all of it on one line: - budget: 25%, 2usd")
    try:
        return read_task_budget(value)
    except ValueError as error:
        raise PlanError(f"{where}: {error}", hint=f"allowed: {TASK_BUDGET_FORMS}; or leave the line out") from None


def _ids(value: str, letter: str, where: str) -> list[str]:
    bare = re.sub(r"[`*\[\]()]", " ", value)
    names = [name for name in re.split(r"[,;\s]+", bare) if name and name.lower() not in {"and", "&"}]
    if not names:
        raise PlanError(f"{where}: there is no id here", hint="leave the line out where there is none")
    for name in names:
        if not re.fullmatch(rf"{letter}[0-9]+", name, re.IGNORECASE):
            hint = f"ids look like {letter}1, {letter}2, separated by commas"
            if name.lower() in {"none", "nothing", "-", "no", "n/a"}:
                hint = "leave the line out where there is none"
            raise PlanError(f"{where}: {name!r} is not an id", hint=hint)
    return [name.upper() for name in names]


def _acceptance(value: str, lines: Sequence[str], at: int, where: str) -> tuple[int, Acceptance]:
    opening = _OPENING.match(lines[at + 1]) if at + 1 < len(lines) else None
    end, before, command = at + 1, value, None
    if opening and (value.endswith(":") or not value):
        end, command = _block(lines, at + 1, opening["fence"])
    elif split := _split_command(value, where):
        before, command = split
    if command is None:
        if not value:
            raise PlanError(f"{where}: the field is empty", hint="- accept: what must hold: `a command that shows it`")
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
    """Return what is before a line's command, and the command; None where there is none.

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
    if task.tests is not None:
        lines.append(f"  - tests: {task.tests.value}")
    if task.fixes:
        lines.append(f"  - fixes: {', '.join(task.fixes)}")
    if task.budget is not None:
        lines.append(f"  - budget: {task.budget.words}")
    if task.priority:
        lines.append(f"  - priority: {task.priority}")
    if task.model:
        lines.append(f"  - model: {task.model}")
    if task.reasoning:
        lines.append(f"  - reasoning: {task.reasoning}")
    if task.risk is not TaskRisk.NORMAL:
        lines.append(f"  - risk: {task.risk.value}")
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
    """Return a task as plan.md can hold it: one-line title and criteria, no empty paths, controls escaped."""
    lines = [line.rstrip() for line in lines_of(task.description)]
    return replace(
        task,
        title=clean_line(" ".join(task.title.split())) or str(task.id),
        role=clean_line(" ".join(task.role.replace("`", "").split())) or "implementer",
        description=clean("\n".join(lines).strip("\n")),
        paths=tuple(clean_line(line) for path in task.paths if (line := " ".join(lines_of(path)).strip())),
        budget=task.budget if task.budget is not None and task.budget.words else None,
        acceptance=tuple(_normal_acceptance(accept) for accept in task.acceptance),
    )


def _normal_acceptance(accept: Acceptance) -> Acceptance:
    command = accept.command.rstrip() if accept.command and accept.command.strip() else None
    if command is not None:
        command = clean("\n".join(lines_of(command)))
    criterion = " ".join(accept.criterion.split()) or " ".join((command or "holds").split())
    return Acceptance(clean_line(criterion), command)
