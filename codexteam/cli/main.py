"""The root of the command line. Light: what a command needs is imported when it runs."""

import itertools
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from codexteam import __version__
from codexteam.cli import (
    config_commands,
    demo_command,
    people_commands,
    roles_commands,
    run_commands,
    setup_commands,
    tidy_commands,
    view_commands,
)
from codexteam.cli.errors import run_guarded
from codexteam.cli.options import ColorChoice, GlobalOptions, share_with_commands
from codexteam.config.environment import read_environment

app = typer.Typer(
    name="codexteam",
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
        str | None, typer.Option("--profile", "-p", metavar="NAME", help="Add $CODEX_HOME/NAME.config.toml on top.")
    ] = None,
    overrides: Annotated[
        list[str] | None,
        typer.Option("--config", "-c", metavar="KEY=VALUE", help="Set a key, dotted, to a TOML value; repeatable."),
    ] = None,
    model: Annotated[str | None, typer.Option("--model", "-m", metavar="MODEL", help="The model to use.")] = None,
    strict_config: Annotated[
        bool, typer.Option("--strict-config", help="Refuse keys that are not known instead of warning of them.")
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
        color=color,
    )


# each has `register(app)`; their order here is their order in the help
for _module in (
    setup_commands,
    run_commands,
    view_commands,
    people_commands,
    tidy_commands,
    config_commands,
    roles_commands,
    demo_command,
):
    _module.register(app)


def run(arguments: Sequence[str]) -> int:
    """Run one command line and give the exit code."""

    def command() -> object:
        parser = typer.main.get_command(app)
        share_with_commands(parser)
        return parser.main(args=list(arguments), prog_name="codexteam", standalone_mode=False)

    # the command line may be what is wrong, so that nothing has parsed it
    options = list(itertools.takewhile(lambda argument: argument != "--", arguments))
    return run_guarded(command, read_environment(), json_lines="--json" in options)
