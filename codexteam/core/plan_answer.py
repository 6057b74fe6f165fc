"""The orchestrator's answer becomes a plan, or one message that says all that is wrong with it."""

from collections.abc import Collection, Sequence

from codexteam.core.ids import FindingId, TaskId
from codexteam.core.json_types import JSONObject, JSONValue
from codexteam.core.plan import Acceptance, Plan, Task
from codexteam.core.plan_graph import graph_of
from codexteam.errors import PlanError


def plan_of(
    answer: JSONObject,
    *,
    goal: str,
    roles: Collection[str],
    known: Sequence[Task] = (),
    max_tasks: int,
) -> Plan:
    """Give the plan in an answer that fits its contract.

    `known` are the run's tasks so far: a re-plan continues their ids, and may wait for them. `roles` are those that
    write code.

    Raises:
        PlanError: everything that does not hold, a line each, so that it can be mended in one go.
    """
    tasks = tuple(_task(item) for item in _list(answer.get("tasks")))
    problems = [problem for task in tasks for problem in _problems(task, roles)]
    taken = {task.id for task in known}
    problems += [f"{task.id}: this id is taken; continue the numbering" for task in tasks if task.id in taken]
    questions = _strings(answer.get("questions"))
    if not tasks and not questions:
        problems.append("there are no tasks")
    if not problems:
        try:
            graph_of([*known, *tasks], max_tasks=max_tasks)
        except PlanError as error:
            problems.append(str(error).removeprefix("plan: "))
    if problems:
        raise PlanError("the plan does not hold:\n" + "\n".join(f"- {problem}" for problem in problems))
    return Plan(
        goal,
        _text(answer.get("summary")),
        tasks,
        _strings(answer.get("later")),
        _strings(answer.get("risks")),
        questions,
    )


def _task(item: JSONValue) -> Task:
    table = item if isinstance(item, dict) else {}
    effort = table.get("effort")
    return Task(
        TaskId(_text(table.get("id"))),
        " ".join(_text(table.get("title")).split()),
        _text(table.get("description")).strip(),
        _text(table.get("role")) or "implementer",
        tuple(TaskId(dep) for dep in dict.fromkeys(_strings(table.get("deps")))),
        tuple(dict.fromkeys(path.strip() for path in _strings(table.get("paths")) if path.strip())),
        tuple(_acceptance(entry) for entry in _list(table.get("acceptance"))),
        effort if isinstance(effort, int) else 1,
        tuple(FindingId(finding) for finding in dict.fromkeys(_strings(table.get("fixes")))),
    )


def _acceptance(item: JSONValue) -> Acceptance:
    table = item if isinstance(item, dict) else {}
    command = table.get("command")
    return Acceptance(
        _text(table.get("criterion")).strip(), command.strip() or None if isinstance(command, str) else None
    )


def _problems(task: Task, roles: Collection[str]) -> list[str]:
    name = task.id or "a task"
    problems = []
    if not (task.id.startswith("T") and task.id[1:].isdigit()):
        problems.append(f"{name!r} is no id: T1, T2, ... are")
    if not task.title:
        problems.append(f"{name}: it has no title")
    if task.role not in roles:
        problems.append(f"{name}: role {task.role!r} does not write code here; one of {', '.join(sorted(roles))}")
    if not 1 <= task.effort <= 5:
        problems.append(f"{name}: effort {task.effort}: 1 to 5")
    leaving = [path for path in task.paths if path.startswith(("/", "~")) or ".." in path.split("/")]
    problems += [f"{name}: path {path!r} leaves the repository" for path in leaving]
    return problems


def _list(value: JSONValue) -> list[JSONValue]:
    return value if isinstance(value, list) else []


def _strings(value: JSONValue) -> tuple[str, ...]:
    return tuple(item for item in _list(value) if isinstance(item, str))


def _text(value: JSONValue) -> str:
    return value if isinstance(value, str) else ""
