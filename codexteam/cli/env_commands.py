"""`codexteam env`: the environment that the repository's tests run in: what it is, building it, working in it."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from codexteam.cli.options import load_request
from codexteam.cli.printing import Json, StateDir, output, printed

if TYPE_CHECKING:
    from codexteam.app.environments import EnvironmentOptions

_HELP = "Show, build and use the environment of the repository's tests."


def register(app: typer.Typer) -> None:
    """Add the commands to the root."""
    env = typer.Typer(help=_HELP, rich_markup_mode=None)
    env.callback(invoke_without_command=True)(show)
    env.command("build")(build)
    env.command("shell")(shell)
    env.command("run", context_settings={"ignore_unknown_options": True, "allow_interspersed_args": False})(run)
    env.command("list")(list_)
    env.command("prune")(prune)
    app.add_typer(env, name="env")


def show(ctx: typer.Context, *, as_json: Json = False, state_dir: StateDir = None) -> int:
    """Show the environment of the commit that is checked out.

    Its sources, steps, key, age and gate commands; nothing is built.
    """
    if ctx.invoked_subcommand is not None:
        return 0
    from codexteam.app.environments import look_at_environment
    from codexteam.views.environments import print_status

    found = output(ctx, as_json=as_json)
    status = look_at_environment(_options(ctx, state_dir))
    return printed(found, lambda out: print_status(out, status))


def build(
    ctx: typer.Context,
    *,
    rebuild: Annotated[bool, typer.Option("--rebuild", help="Build it again, also where it is there.")] = False,
    as_json: Json = False,
    state_dir: StateDir = None,
) -> int:
    """Build it where it is missing; see if the gate commands run."""
    from codexteam.app.environments import build_environment
    from codexteam.views.environments import print_status, progress

    found = output(ctx, as_json=as_json)
    status = build_environment(_options(ctx, state_dir, progress(found)), rebuild=rebuild)
    return printed(found, lambda out: print_status(out, status, is_checked=True))


def shell(ctx: typer.Context, *, state_dir: StateDir = None) -> int:
    """Open a shell in a sandbox like the agents'; nothing is kept."""
    from codexteam.app.environments import open_shell
    from codexteam.views.environments import progress, say_what_a_shell_is

    out = output(ctx, as_json=False)
    both = sys.stdin.isatty() and sys.stdout.isatty()
    ends = (sys.stdin.fileno(), sys.stdout.fileno()) if both else None
    return open_shell(_options(ctx, state_dir, progress(out)), ends, on_ready=lambda: say_what_a_shell_is(out))


def run(
    ctx: typer.Context,
    command: Annotated[list[str], typer.Argument(metavar="COMMAND...", help="The command and its arguments.")],
    *,
    state_dir: StateDir = None,
) -> int:
    """Run a command in a sandbox like the agents'.

    It ends with the command's exit code: codexteam env run -- pytest -q.
    """
    from codexteam.app.environments import run_command
    from codexteam.views.environments import exit_code_of, progress

    out = output(ctx, as_json=False)
    result = run_command(_options(ctx, state_dir, progress(out)), command, on_output=_to_standard_output)
    return exit_code_of(out, result)


def list_(ctx: typer.Context, *, as_json: Json = False, state_dir: StateDir = None) -> int:
    """List the environments kept for this repository, last used first."""
    from codexteam.app.environments import list_kept
    from codexteam.views.environments import print_kept

    found = output(ctx, as_json=as_json)
    kept = list_kept(_options(ctx, state_dir))
    return printed(found, lambda out: print_kept(out, kept))


def prune(
    ctx: typer.Context,
    names: Annotated[
        list[str] | None, typer.Argument(metavar="KEY...", help="Remove these, by the start of their keys.")
    ] = None,
    *,
    every: Annotated[bool, typer.Option("--all", help="Remove all that nothing uses.")] = False,
    as_json: Json = False,
    state_dir: StateDir = None,
) -> int:
    """Remove environments: unused, over the size limit, or named ones."""
    from codexteam.app.environments import remove_kept
    from codexteam.views.environments import print_removed

    found = output(ctx, as_json=as_json)
    gone = remove_kept(_options(ctx, state_dir), names or (), every=every)
    return printed(found, lambda out: print_removed(out, gone))


def _to_standard_output(data: bytes) -> None:
    sys.stdout.buffer.write(data)
    sys.stdout.buffer.flush()


def _options(ctx: typer.Context, state_dir: Path | None, report: "object | None" = None) -> "EnvironmentOptions":
    from codexteam.app.environments import EnvironmentOptions

    options = EnvironmentOptions(load_request(ctx), state_dir)
    return options if report is None else EnvironmentOptions(options.load, state_dir, report)  # type: ignore[arg-type]
