"""`run --fan-out`: a command line becomes one for each repository."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from codexteam.cli.given_texts import read_constraints
from codexteam.cli.options import global_options, load_request, option_words, repositories_of
from codexteam.cli.printing import output

if TYPE_CHECKING:
    from codexteam.core.ids import JSONValue

#: Flags of `run` that each repository's run gets in another form, or that say how this command prints.
_OWN = frozenset({"goal", "issue", "repo", "fan_out", "budget", "constraints", "json", "quiet", "oss"})
#: Flags of `run` that name one run's files.
_OF_ONE_RUN = frozenset({"plan_file", "record", "replay", "last_message", "state_dir", "artifacts"})
_BUDGET_PREFIX = "codexteam.budget.run_"

Repo = Annotated[
    list[str] | None,
    typer.Option(
        "--repo",
        metavar="NAME=PATH",
        help="Repositories to work on together, with the name that each has in the plan; repeatable.",
    ),
]
FanOut = Annotated[
    bool,
    typer.Option(
        "--fan-out",
        help="The same goal in each --repo (or [codexteam.repos]) instead, as a run of its own, under one --budget.",
    ),
]


def run_in_each(
    ctx: typer.Context,
    goal: str | None,
    constraints: str | None,
    budget: "Mapping[str, JSONValue]",
    repo: list[str],
    *,
    json: bool,
    quiet: bool,
) -> int:
    """Run a goal in every repository, and show how all of that ended.

    Raises:
        UsageError: a flag names what is one run's alone, or the goal is empty.
        RepoError: a path is no repository; nothing was begun.
    """
    from codexteam.app.fan_out import FanOutOrder, fan_out
    from codexteam.app.repositories import find_named
    from codexteam.app.run import checked_goal, constrained
    from codexteam.errors import UsageError
    from codexteam.views.fan_out import FanOutView

    repositories = repositories_of(ctx, repo) or configured_repositories(ctx)
    if not repositories:
        raise UsageError(
            "--fan-out has no repository to work on", hint="name each: --repo NAME=PATH, or set [codexteam.repos]"
        )
    flags = _flags(ctx)
    limits = {name.removeprefix(_BUDGET_PREFIX): amount for name, amount in budget.items()}
    amounts = {unit: float(amount) for unit, amount in limits.items() if isinstance(amount, int | float)}
    if limits and not amounts:
        flags += ["--budget", "none"]
    order = FanOutOrder(
        find_named(repositories, load_request(ctx).environment),
        checked_goal(constrained(checked_goal(goal, None), None, read_constraints(ctx, constraints)), None),
        tuple(option_words(global_options(ctx))),
        tuple(flags),
        amounts,
    )
    view = FanOutView(output(ctx, as_json=json), quiet=quiet)
    runs, code = fan_out(order, view)
    view.ended(runs, code)
    return code


def configured_repositories(ctx: typer.Context) -> dict[str, Path]:
    """Return the repositories that `[codexteam.repos]` names."""
    from codexteam.config.load import load_settings

    return dict(load_settings(load_request(ctx)).team.repos)


def _flags(ctx: typer.Context) -> list[str]:
    """Return the flags of `run` that were typed, for the run of each repository."""
    from codexteam.errors import UsageError

    found: list[str] = []
    for parameter in ctx.command.params:
        name = str(parameter.name)
        source = ctx.get_parameter_source(name)
        if name not in ctx.params or source is None or source.name.startswith("DEFAULT") or name in _OWN:
            continue
        flag = max(parameter.opts, key=len)
        if name in _OF_ONE_RUN:
            raise UsageError(f"{flag} is for one run, and --fan-out begins one in each repository", hint="leave it out")
        found += _words(flag, ctx.params[name])
    return found


def _words(flag: str, value: Any) -> list[str]:
    if isinstance(value, bool):
        return [flag] if value else []
    return [word for one in (value if isinstance(value, list | tuple) else [value]) for word in (flag, str(one))]
