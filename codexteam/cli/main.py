"""The root of the command line. Light: what a command needs is imported when it runs."""

import copy
import itertools
import sys
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Annotated, Any

import typer

from codexteam import __version__
from codexteam.cli import (
    audit_commands,
    ci_commands,
    cluster_commands,
    config_commands,
    control_commands,
    deploy_commands,
    env_commands,
    eval_commands,
    fork_commands,
    index_commands,
    mcp_commands,
    pr_commands,
    report_commands,
    review_commands,
    roles_commands,
    run_commands,
    setup_commands,
    task_commands,
    tidy_commands,
    view_commands,
)
from codexteam.cli.errors import run_guarded
from codexteam.cli.options import ColorChoice, Commands, EngineWord, GlobalOptions, share_with_commands
from codexteam.config.request import read_environment

app = typer.Typer(
    name="codexteam",
    cls=Commands,
    help="A team of AI coding agents that turns one goal into merged, tested commits.",
    epilog="Options may stand before the command or after it.",
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    add_completion=True,
    no_args_is_help=True,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _show_version(wanted: bool) -> None:  # noqa: FBT001 - the parser calls it so
    if wanted:
        sys.stdout.write(f"codexteam {__version__}\n")
        raise typer.Exit


@app.callback()
def root(
    ctx: typer.Context,
    *,
    directory: Annotated[
        Path | None,
        typer.Option("--cd", "-C", metavar="DIR", help="Work in this directory instead of the current one."),
    ] = None,
    profile: Annotated[
        str | None, typer.Option("--profile", "-p", metavar="NAME", help="Also load $CODEX_HOME/NAME.config.toml.")
    ] = None,
    overrides: Annotated[
        list[str] | None,
        typer.Option(
            "--config", "-c", metavar="KEY=VALUE", help="Override a dotted key with a TOML value; repeatable."
        ),
    ] = None,
    model: Annotated[str | None, typer.Option("--model", "-m", metavar="MODEL", help="The model to use.")] = None,
    strict_config: Annotated[
        bool, typer.Option("--strict-config", help="Reject unknown keys instead of warning about them.")
    ] = False,
    enable: Annotated[
        list[str] | None, typer.Option("--enable", metavar="FEATURE", help="Switch a feature on; repeatable.")
    ] = None,
    disable: Annotated[
        list[str] | None, typer.Option("--disable", metavar="FEATURE", help="Switch a feature off; repeatable.")
    ] = None,
    oss: Annotated[bool, typer.Option("--oss", help="Use a model served on this machine.")] = False,
    local_provider: Annotated[
        str | None, typer.Option("--local-provider", metavar="ID", help="For --oss: ollama or lmstudio.")
    ] = None,
    engine: Annotated[
        EngineWord | None,
        typer.Option("--engine", help="Who runs agents: codexteam, your own codex, or auto (as your sign-in allows)."),
    ] = None,
    color: Annotated[ColorChoice, typer.Option("--color", help="When to colour output.")] = ColorChoice.AUTO,
    _version: Annotated[
        bool,
        typer.Option("--version", "-V", callback=_show_version, is_eager=True, help="Show the version and exit."),
    ] = False,
) -> None:
    """A team of AI coding agents that turns one goal into merged, tested commits."""
    ctx.obj = GlobalOptions(
        directory=directory,
        profile=profile,
        overrides=tuple(overrides or ()),
        model=model,
        strict_config=strict_config,
        enable=tuple(enable or ()),
        disable=tuple(disable or ()),
        oss=oss,
        local_provider=local_provider,
        engine=engine,
        color=color,
    )


# each has `register(app)`; their order here is their order in the help
for _module in (
    setup_commands,
    env_commands,
    cluster_commands,
    index_commands,
    run_commands,
    review_commands,
    audit_commands,
    view_commands,
    report_commands,
    control_commands,
    task_commands,
    fork_commands,
    eval_commands,
    pr_commands,
    ci_commands,
    deploy_commands,
    tidy_commands,
    config_commands,
    roles_commands,
    mcp_commands,
):
    _module.register(app)


@cache
def parser_of(only: str, *, listed: bool = False) -> Any:  # the parser's own types are private
    """Return the parser; of one command, where the line begins with it, or without options where all are `listed`.

    It costs two milliseconds to build the parser of a command, and there are dozens.
    """
    wanted = copy.copy(app)
    if only:
        wanted.registered_commands = [info for info in app.registered_commands if info.name == only]
        wanted.registered_groups = [info for info in app.registered_groups if info.name == only]
    elif listed:
        wanted.registered_commands = [_without_options(info) for info in app.registered_commands]
    parser = typer.main.get_command(wanted)
    share_with_commands(parser)
    return parser


def _without_options(info: typer.models.CommandInfo) -> typer.models.CommandInfo:
    def command() -> None:
        """Stand for it in a list."""

    command.__doc__ = None if info.callback is None else info.callback.__doc__
    listed = copy.copy(info)
    listed.callback = command
    return listed


def _names() -> set[object]:
    return {each.name for each in app.registered_commands} | {each.name for each in app.registered_groups}


def run(arguments: Sequence[str]) -> int:
    """Run one command line and give the exit code."""

    def command() -> object:
        parser = parser_of(
            arguments[0] if arguments and arguments[0] in _names() else "",
            listed=list(arguments) in ([], ["-h"], ["--help"]) and "_CODEXTEAM_COMPLETE" not in read_environment(),
        )
        return parser.main(args=list(arguments), prog_name="codexteam", standalone_mode=False)

    # the command line may be what is wrong, so that nothing has parsed it
    options = list(itertools.takewhile(lambda argument: argument != "--", arguments))
    return run_guarded(command, read_environment(), json_lines="--json" in options, runner_reads="--ci" in options)
