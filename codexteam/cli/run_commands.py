"""`run`, `plan`, `resume` and `demo`."""

import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from codexteam.cli.options import global_options, load_request

if TYPE_CHECKING:
    from codexteam.app.running import RunOptions, View
    from codexteam.core.json_types import JSONValue

_BUDGET = re.compile(r"(?P<number>\d+(?:\.\d+)?)\s*(?P<unit>usd|\$|k|m|tokens?|credits?)$", re.IGNORECASE)

Budget = Annotated[
    list[str] | None,
    typer.Option(
        "--budget", metavar="AMOUNT", help="The most to spend: 5usd, 2000k (tokens) or 300credits; repeatable."
    ),
]
Json = Annotated[bool, typer.Option("--json", help="Print JSON Lines, the last one a terminal record.")]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="Print nothing but the last screen.")]
StateDir = Annotated[
    Path | None, typer.Option("--state-dir", metavar="DIR", help="Keep state here instead of in the git directory.")
]
Oss = Annotated[bool, typer.Option("--oss", help="Use a local model server, as Codex does.")]
Threads = Annotated[int | None, typer.Option("--max-threads", metavar="N", help="Agents at work at the same time.")]


def register(app: typer.Typer) -> None:
    """Add the commands."""
    app.command("run")(run)
    app.command("plan")(plan)
    app.command("resume")(resume)


def run(  # noqa: PLR0917 - the parser fills them by name
    ctx: typer.Context,
    goal: Annotated[
        str | None, typer.Argument(metavar="GOAL", help="What is to be reached; - reads it from standard input.")
    ] = None,
    plan_file: Annotated[
        Path | None, typer.Option("--plan", metavar="FILE", help="Work on this plan.md instead of planning.")
    ] = None,
    budget: Budget = None,
    max_threads: Threads = None,
    max_rounds: Annotated[
        int | None, typer.Option("--max-rounds", metavar="N", help="Rounds of gates before a person is asked.")
    ] = None,
    approve: Annotated[
        str | None, typer.Option("--approve", metavar="LIST", help="Wait for a person before these: plan, merge.")
    ] = None,
    record: Annotated[
        Path | None, typer.Option("--record", metavar="FILE", help="Write what the model answers into FILE.")
    ] = None,
    replay: Annotated[
        Path | None, typer.Option("--replay", metavar="FILE", help="Let a recording answer instead of a model.")
    ] = None,
    oss: Oss = False,  # noqa: FBT002 - the parser fills it by name
    json: Json = False,  # noqa: FBT002
    quiet: Quiet = False,  # noqa: FBT002
    state_dir: StateDir = None,
) -> int:
    """Plan a goal, implement, merge and gate it, until it is green."""
    from codexteam.app import running

    flags = {
        **budget_flags(budget or []),
        **_flag("codexteam.limits.max_threads", max_threads),
        **_flag("codexteam.limits.max_rounds", max_rounds),
        **_approvals(approve),
        **_recording(record, replay),
    }
    options = _options(ctx, flags, oss=oss, json=json, quiet=quiet, state_dir=state_dir, plan_file=plan_file)
    return running.run(read_goal(goal), options)


def plan(  # noqa: PLR0917 - the parser fills them by name
    ctx: typer.Context,
    goal: Annotated[str, typer.Argument(metavar="GOAL", help="What is to be reached; - reads it from standard input.")],
    budget: Budget = None,
    max_threads: Threads = None,
    replay: Annotated[
        Path | None, typer.Option("--replay", metavar="FILE", help="Let a recording answer instead of a model.")
    ] = None,
    oss: Oss = False,  # noqa: FBT002 - the parser fills it by name
    json: Json = False,  # noqa: FBT002
    quiet: Quiet = False,  # noqa: FBT002
    state_dir: StateDir = None,
) -> int:
    """Scout and plan only: plan.md, waves, write scopes, a forecast.

    In the work tree nothing is written but plan.md; codexteam resume works on it.
    """
    from codexteam.app import running

    flags = {
        **budget_flags(budget or []),
        **_flag("codexteam.limits.max_threads", max_threads),
        **_recording(None, replay),
    }
    options = _options(ctx, flags, oss=oss, json=json, quiet=quiet, state_dir=state_dir)
    return running.plan(read_goal(goal) or "", options)


def resume(  # noqa: PLR0917 - the parser fills them by name
    ctx: typer.Context,
    name: Annotated[
        str | None, typer.Argument(metavar="RUN", help="A run, or the start of its id; else the newest.")
    ] = None,
    last: Annotated[bool, typer.Option("--last", help="The newest run.")] = False,  # noqa: FBT002
    budget: Budget = None,
    max_threads: Threads = None,
    json: Json = False,  # noqa: FBT002
    quiet: Quiet = False,  # noqa: FBT002
    state_dir: StateDir = None,
) -> int:
    """Go on with a run from its last checkpoint.

    No flag needs repeating: what is given here, -c and -m too, counts over what was given before, and at later resumes
    until something newer is given. Limits count as they are now.
    """
    from codexteam.app import running
    from codexteam.errors import UsageError

    if last and name:
        raise UsageError(f"--last and RUN ({name}) name different things", hint="give one of them")
    flags = {**budget_flags(budget or []), **_flag("codexteam.limits.max_threads", max_threads)}
    options = _options(ctx, flags, oss=False, json=json, quiet=quiet, state_dir=state_dir)
    return running.resume(name, options)


def _options(
    ctx: typer.Context,
    flags: "dict[str, JSONValue]",
    *,
    oss: bool,
    json: bool,
    quiet: bool,
    state_dir: Path | None,
    plan_file: Path | None = None,
) -> "RunOptions":
    from dataclasses import replace

    from codexteam.app.running import RunOptions

    load = load_request(ctx)
    # what all commands take may be said before the command too, or be a flag of the parser's alone
    load = replace(load, flags={**load.flags, **flags}, oss=oss or load.oss)
    return RunOptions(load, view(ctx, json=json, quiet=quiet), state_dir=state_dir, plan_file=plan_file)


def view(ctx: typer.Context, *, json: bool, quiet: bool = False) -> "View":
    """Give how a command shows what happens."""
    from codexteam.app.running import View

    return View(json_lines=json, quiet=quiet, color=global_options(ctx).color.value)


def read_goal(goal: str | None) -> str | None:
    """Give the goal as it was typed, or all of standard input for `-`.

    Raises:
        UsageError: standard input is no UTF-8 text, or longer than any goal.
    """
    if goal != "-":
        return goal
    from codexteam.app.running import MAX_GOAL_BYTES
    from codexteam.errors import UsageError

    # one byte more than is allowed is enough to know
    data = sys.stdin.buffer.read(MAX_GOAL_BYTES + 1)
    if len(data) > MAX_GOAL_BYTES:
        raise UsageError(
            f"the goal on standard input is too long: at most {MAX_GOAL_BYTES:,} bytes are allowed",
            hint="put the details into a file of the repository and name it in the goal",
        )
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError as error:
        raise UsageError(f"the goal on standard input is no UTF-8: byte {error.start}") from error


def budget_flags(amounts: list[str]) -> "dict[str, JSONValue]":
    """Give the settings that `--budget` means.

    Raises:
        UsageError: an amount cannot be read.
    """
    from codexteam.errors import UsageError

    flags: dict[str, JSONValue] = {}
    for amount in amounts:
        found = _BUDGET.match(amount.strip().removeprefix("$") + ("usd" if amount.strip().startswith("$") else ""))
        if found is None:
            hint = "5usd (or $5) for dollars, 2000k for tokens, 300credits for credits"
            raise UsageError(f"--budget {amount!r}: this is no amount", hint=hint)
        number, unit = float(found["number"]), found["unit"].lower()
        if unit in {"usd", "$"}:
            flags["codexteam.budget.run_usd"] = number
        elif unit.startswith("credit"):
            flags["codexteam.budget.run_credits"] = number
        else:
            factor = {"k": 1_000, "m": 1_000_000}.get(unit, 1)
            flags["codexteam.budget.run_tokens"] = int(number * factor)
    return flags


def _flag(key: str, value: "JSONValue") -> "dict[str, JSONValue]":
    return {} if value is None else {key: value}


def _approvals(words: str | None) -> "dict[str, JSONValue]":
    if words is None:
        return {}
    return {"codexteam.approve": [word.strip() for word in words.split(",") if word.strip()]}


def _recording(record: Path | None, replay: Path | None) -> "dict[str, JSONValue]":
    flags = _flag("codexteam.record_file", str(record.absolute()) if record else None)
    if replay is not None:
        flags |= {"model_provider": "replay", "codexteam.replay_file": str(replay.absolute())}
    return flags
