"""Options of the commands that begin a run or continue one, and the settings that they mean."""

import difflib
import re
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from codexteam.cli.options import checked_text

if TYPE_CHECKING:
    from codexteam.core.ids import JSONValue
    from codexteam.core.plan_windows import WindowShare

Budget = Annotated[
    list[str] | None,
    typer.Option(
        "--budget",
        metavar="AMOUNT",
        help="Spending limit: 5usd, 2000k (tokens), 300credits, or with your Codex as engine a share of your plan's "
        "window (20%weekly, 50%5h); repeatable; or none. On resume it replaces the limits given before.",
    ),
]
OnTaskBudget = Annotated[
    str | None,
    typer.Option(
        "--on-task-budget",
        metavar="ask|fail|extend",
        help="What follows when a task has used its own budget: you are asked (the default), it fails, or it gets as much "
        "again.",
    ),
]
AllowGuarded = Annotated[
    list[str] | None,
    typer.Option(
        "--allow-guarded", metavar="GLOB", help="Let tasks write matching guarded paths without asking; repeatable."
    ),
]
Json = Annotated[bool, typer.Option("--json", help="Print JSON Lines, ending with a terminal record.")]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="Print only the final summary.")]
StateDir = Annotated[
    Path | None, typer.Option("--state-dir", metavar="DIR", help="Keep state in DIR instead of the git directory.")
]
Wait = Annotated[
    bool, typer.Option("--wait", help="If your plan's usage limit is reached, wait until it resets, then continue.")
]
Oss = Annotated[bool, typer.Option("--oss", help="Use a local model server, as Codex does.")]
PlanFile = Annotated[
    Path | None, typer.Option("--plan", metavar="FILE", help="Work on this plan.md instead of making a plan.")
]
Step = Annotated[
    list[str] | None,
    typer.Option(
        "--step",
        metavar="NAME=VALUE",
        help="Do a step auto, always or off: scouts, analyst, documentation, release; repeatable.",
    ),
]
Constraints = Annotated[
    str | None,
    typer.Option("--constraints", metavar="TEXT|FILE", help="What every task must keep to: a text, or a file with it."),
]
LastMessage = Annotated[
    Path | None,
    typer.Option(
        "--output-last-message", "-o", metavar="FILE", help="Write the final summary, or the answer, into FILE."
    ),
]
NoDocs = Annotated[bool, typer.Option("--no-docs", help="Write no documentation: --step documentation=off.")]
Rounds = Annotated[int | None, typer.Option("--max-rounds", metavar="N", help="Ask a person after N rounds of gates.")]
Approve = Annotated[
    str | None,
    typer.Option("--approve", metavar="LIST", help="Wait for approval of these: plan, merge (or both: plan,merge)."),
]
Record = Annotated[Path | None, typer.Option("--record", metavar="FILE", help="Record the model's answers in FILE.")]
Replay = Annotated[
    Path | None, typer.Option("--replay", metavar="FILE", help="Use the answers recorded in FILE instead of a model.")
]
Pr = Annotated[
    bool,
    typer.Option("--pr", help="When it is green, push its branch and open its pull request, as codexteam pr does."),
]
Draft = Annotated[bool, typer.Option("--draft", help="With --pr: open it as a draft.")]
Threads = Annotated[
    int | None, typer.Option("--max-threads", metavar="N", help="Run at most N agents at the same time.")
]


def run_flags(
    budget: list[str] | None,
    allow_guarded: list[str] | None,
    max_threads: int | None,
    max_rounds: int | None,
    *,
    approve: str | None,
    record: Path | None,
    replay: Path | None,
) -> "dict[str, JSONValue]":
    return {
        **budget_flags(budget or []),
        **setting_flag("codexteam.allow_guarded", checked_globs(allow_guarded)),
        **setting_flag("codexteam.limits.max_threads", max_threads),
        **setting_flag("codexteam.limits.max_rounds", max_rounds),
        **_approvals(approve),
        **recording_flags(record, replay),
    }


def on_task_budget_flags(word: str | None) -> "dict[str, JSONValue]":
    from codexteam.core.budget import ON_TASK_BUDGET
    from codexteam.errors import UsageError

    if word is not None and word not in ON_TASK_BUDGET:
        raise UsageError(
            f"--on-task-budget: found {word!r}; allowed: {', '.join(ON_TASK_BUDGET)}",
            hint="ask puts it into the inbox, fail ends the task, extend gives it as much again",
        )
    return setting_flag("codexteam.budget.on_task_budget", word)


def checked_globs(allow_guarded: list[str] | None) -> "list[JSONValue] | None":
    return [checked_text("--allow-guarded", glob) for glob in allow_guarded] if allow_guarded else None


def budget_flags(amounts: list[str]) -> "dict[str, JSONValue]":
    """Return the settings that `--budget` means.

    Raises:
        UsageError: an amount cannot be read, or one unit has two.
    """
    from codexteam.config.request import BUDGET_FLAGS
    from codexteam.core.budget_amounts import Unit
    from codexteam.core.budget_text import AMOUNT_FORMS, read_amount
    from codexteam.core.plan_windows import read_window_share
    from codexteam.errors import UsageError

    flags: dict[str, JSONValue] = {}
    if any(amount.strip().lower() == "none" for amount in amounts):
        if len(amounts) > 1:
            raise UsageError("--budget none cannot be combined with amounts: it removes every limit of the run")
        return dict.fromkeys(BUDGET_FLAGS, "none")
    said: dict[str, str] = {}
    for amount in amounts:
        number: float
        if (share := read_window_share(amount)) is not None:
            what, number = f"{_known_window(amount, share)}_percent", share.percent
        elif (found := read_amount(amount)) is not None and found.unit is not None:
            what = found.unit.value.lower()
            number = int(found.number) if found.unit is Unit.TOKENS else found.number
        else:
            bare = re.fullmatch(r"\s*([0-9]+(\.[0-9]+)?)\s*", amount)
            raise UsageError(
                f"--budget {amount!r}: found no amount with its unit; allowed: {AMOUNT_FORMS}, 20%weekly or 50%5h (with "
                "your own Codex as engine: shares of your plan's windows), or none",
                hint=f"say the unit: {bare[1]}usd, {bare[1]}k or {bare[1]}credits"
                if bare
                else "write a plain number and then its unit, as in --budget 5usd",
            )
        if what in said:
            raise UsageError(f"--budget {said[what]} and --budget {amount} set the same limit", hint="give one of them")
        said[what] = amount
        flags[f"codexteam.budget.run_{what}"] = number
    return flags


def _known_window(typed: str, share: "WindowShare") -> str:
    from codexteam.core.plan_windows import WINDOW_MINUTES
    from codexteam.errors import UsageError

    if share.window not in WINDOW_MINUTES:
        raise UsageError(
            f"--budget {typed!r}: a plan has no window {share.window!r}; allowed: {', '.join(WINDOW_MINUTES)}",
            hint=f"for example {share.percent:g}%weekly",
        )
    if not 0 <= share.percent <= 100:
        raise UsageError(
            f"--budget {typed!r}: found {share.percent:g} %; allowed: 0 to 100 % of a window",
            hint=f"for example 20%{share.window}",
        )
    return share.window


def step_flags(steps: list[str], *, no_docs: bool) -> "dict[str, JSONValue]":
    """Return the settings that `--step` and `--no-docs` mean.

    Raises:
        UsageError: there is no such step or value, or the two contradict each other.
    """
    from dataclasses import fields

    from codexteam.config.settings import StepMode, StepSettings
    from codexteam.errors import UsageError

    names, values = [field.name for field in fields(StepSettings)], [mode.value for mode in StepMode]
    said: dict[str, str] = {"documentation": StepMode.OFF} if no_docs else {}
    for typed in steps:
        name, _, value = (part.strip() for part in checked_text("--step", typed).partition("="))
        if name not in names:
            near = [each for each in names if len(name) > 1 and each.startswith(name[:3])]
            near = near or difflib.get_close_matches(name, names, n=1, cutoff=0.4)
            raise UsageError(
                f"--step {typed}: there is no step {name!r}; there are {', '.join(names)}",
                hint=f"did you mean --step {near[0]}={value or 'off'}"
                if near
                else "for example --step documentation=off",
            )
        if value not in values:
            raise UsageError(
                f"--step {typed}: found {value!r}; allowed are {', '.join(values)}",
                hint=f"for example --step {name}=off",
            )
        if said.setdefault(name, value) != value:
            before = "--no-docs" if no_docs and name == "documentation" else f"--step {name}={said[name]}"
            raise UsageError(f"{before} and --step {typed} contradict each other", hint="give one of them")
    return {f"codexteam.steps.{name}": str(value) for name, value in said.items()}


def setting_flag(key: str, value: "JSONValue") -> "dict[str, JSONValue]":
    return {} if value is None else {key: value}


def _approvals(words: str | None) -> "dict[str, JSONValue]":
    if words is None:
        return {}
    return {"codexteam.approve": [word.strip() for word in words.split(",") if word.strip()]}


def recording_flags(record: Path | None, replay: Path | None) -> "dict[str, JSONValue]":
    flags = setting_flag("codexteam.record_file", str(record.absolute()) if record else None)
    if replay is not None:
        flags |= {"model_provider": "replay", "codexteam.replay_file": str(replay.absolute())}
    return flags
