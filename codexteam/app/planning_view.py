"""What `codexteam plan` prints: waves, scopes, roles and models, and a forecast."""

import json
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from codexteam.app.running import View
from codexteam.app.sitting import Ended
from codexteam.config.settings import Settings
from codexteam.core.codec import encode
from codexteam.core.effects import Result
from codexteam.core.forecast import Forecast, PastTask, Range, forecast
from codexteam.core.json_types import JSONObject
from codexteam.core.plan import Task
from codexteam.core.plan_graph import waves
from codexteam.core.state import Rules, TaskPhase
from codexteam.core.text import count_of
from codexteam.core.usage import Price, Usage
from codexteam.driver.loop import load_state
from codexteam.errors import StoreError
from codexteam.ports.store import Store
from codexteam.report.board import Board

if TYPE_CHECKING:
    from rich.console import Console

#: Runs whose tasks a forecast rests on; older ones say less about today's models.
_RUNS = 20


async def show_plan(
    ended: Ended, board: Board, store: Store, *, settings: Settings, console: "Console", view: View
) -> int:
    """Print a fresh plan, and give the exit code: 0 with a plan, else how planning ended."""
    tasks = [known.task for known in ended.state.tasks.values()]
    if not tasks:
        from codexteam.app.running import finish

        return finish(ended, board, console, view)
    past = await past_tasks(store)
    prices = prices_by_role(settings)
    seen = forecast(tasks, past, prices, max_threads=settings.team.limits.max_threads)
    if view.json_lines:
        view.out.write(
            json.dumps({"kind": "plan", "run": ended.state.run_id, **plan_json(tasks, seen, settings)}) + "\n"
        )
    else:
        _print(console, tasks, seen, settings)
        _print_end(console, board)
    return 0 if ended.finish.result in {Result.WAITING, Result.GREEN} else ended.finish.exit_code


def prices_by_role(settings: Settings) -> Mapping[str, Price]:
    """Give each role's price, where its model has one."""
    prices = settings.team.prices
    return {name: prices[role.model.model] for name, role in settings.roles.items() if role.model.model in prices}


async def past_tasks(store: Store) -> list[PastTask]:
    """Give what the merged tasks of the newest runs took, but for runs that cannot be read."""
    found: list[PastTask] = []
    for record in (await store.runs())[:_RUNS]:
        try:
            state = await load_state(store, record.run_id, goal=record.goal, rules=Rules())
            answers = await store.answers(record.run_id)
        except StoreError:
            continue  # of a newer codexteam, say; `codexteam runs` names it
        usage: dict[str, Usage] = {}
        for answer in answers:
            name = answer.key.agent.task_id
            usage[name] = usage.get(name, Usage()) + (answer.usage or Usage())
        found += [
            PastTask(known.task.role, known.task.effort, usage[task_id])
            for task_id, known in state.tasks.items()
            if known.phase is TaskPhase.MERGED and task_id in usage
        ]
    return found


def plan_json(tasks: Sequence[Task], seen: Forecast, settings: Settings) -> JSONObject:
    """Give a plan and its forecast for programs."""
    models = {task.role: settings.roles[task.role].model.model for task in tasks if task.role in settings.roles}
    return {
        "tasks": [encode(task) for task in tasks],
        "waves": [[str(task_id) for task_id in wave] for wave in waves(tasks)],
        "models": dict(models),
        "forecast": encode(seen),
    }


def _print(console: "Console", tasks: Sequence[Task], seen: Forecast, settings: Settings) -> None:
    from rich.text import Text

    from codexteam.adapters.terminal.words import foreign

    by_id = {task.id: task for task in tasks}
    for number, wave in enumerate(waves(tasks), start=1):
        console.print(Text(f"wave {number}", style="bold"))
        for task_id in wave:
            task = by_id[task_id]
            role = settings.roles.get(task.role)
            who = f"{task.role}, {role.model.model}" if role else task.role
            line = Text(f"  {task.id} ")
            line.append_text(foreign(f"{task.title} ({who}, effort {task.effort})"))
            console.print(line, soft_wrap=True)
            if task.paths:
                console.print(foreign(f"     writes {', '.join(task.paths)}"), soft_wrap=True)
            if task.deps:
                console.print(foreign(f"     after {', '.join(task.deps)}"), soft_wrap=True)
            for accept in task.acceptance:
                shown = f"`{accept.command}`" if accept.command else "judged by a reader"
                console.print(foreign(f"     accept {accept.criterion}: {shown}"), soft_wrap=True)
    for words in forecast_lines(seen):
        console.print(Text(words), soft_wrap=True)


def _print_end(console: "Console", board: Board) -> None:
    """Print what the plan cost, and what to type next."""
    from rich.text import Text

    from codexteam.adapters.terminal.layout import print_wrapped
    from codexteam.adapters.terminal.words import money, usage_words

    print_wrapped(console, Text(f"spent   {money(board.usd)}, {usage_words(board.usage)}"))
    print_wrapped(console, Text("next    codexteam resume", style="bold"))
    print_wrapped(console, Text("        or edit plan.md first; nothing but plan.md was written to the work tree"))


def forecast_lines(seen: Forecast) -> list[str]:
    """Say a forecast in words."""
    path = " -> ".join(seen.critical_path)
    lines = [f"width   {seen.width} at once, {count_of(seen.depth, 'wave')}", f"path    {path}"]
    if not seen.history_tasks:
        return [*lines, "cost    no history to go by: no task was merged here yet"]
    lines.append(f"tokens  {_range(seen.tokens, 'tokens')} (from {count_of(seen.history_tasks, 'task')} merged here)")
    lines.append(f"cost    {_range(seen.usd, 'usd')}, for the tasks; scouts, planning and gates come on top")
    return lines


def _range(found: Range, unit: str) -> str:
    from codexteam.adapters.terminal.words import money, tokens

    if found.expected is None or found.worst is None:
        return "price unknown: set [codexteam.prices]" if unit == "usd" else "unknown"
    if unit == "usd":
        return f"{money(found.expected)} expected, {money(found.worst)} at worst"
    return f"{tokens(int(found.expected))} expected, {tokens(int(found.worst))} at worst"
