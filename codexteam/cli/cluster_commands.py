"""`codexteam cluster`: the hosts of runs, and which of them take no new agents."""

from typing import Annotated

import typer

from codexteam.cli.options import load_request
from codexteam.cli.printing import Json, StateDir, output, printed, project_of, project_or_none

Host = Annotated[str, typer.Argument(metavar="NAME", help="A host's name, as codexteam cluster lists it.")]


def register(app: typer.Typer) -> None:
    """Add the commands to the root."""
    cluster = typer.Typer(help="Show the hosts that agents work on; drain them.", rich_markup_mode=None)
    cluster.callback(invoke_without_command=True)(show)
    cluster.command("drain")(drain)
    cluster.command("undrain")(undrain)
    app.add_typer(cluster, name="cluster")


def show(ctx: typer.Context, *, as_json: Json = False, state_dir: StateDir = None) -> int:
    """Show the hosts that agents work on; drain them.

    State, slots, weight, runtimes, who works where, and what to do about problems. No run is needed. The exit code is 6
    where no host takes agents.
    """
    if ctx.invoked_subcommand is not None:
        return 0
    from codexteam.app.cluster import look_at_cluster
    from codexteam.views.cluster import print_cluster

    found = output(ctx, as_json=as_json)
    status = look_at_cluster(load_request(ctx), project_or_none(ctx, state_dir))
    return printed(found, lambda out: print_cluster(out, status))


def drain(ctx: typer.Context, *, name: Host, as_json: Json = False, state_dir: StateDir = None) -> int:
    """Start no new agents on a host; those at work there finish.

    It counts for this repository; a run that is at work notices within seconds.
    """
    from codexteam.app import cluster
    from codexteam.views.cluster import print_drained

    found = output(ctx, as_json=as_json)
    drained = cluster.drain(load_request(ctx), project_of(ctx, state_dir), name)
    return printed(found, lambda out: print_drained(out, drained))


def undrain(ctx: typer.Context, *, name: Host, as_json: Json = False, state_dir: StateDir = None) -> int:
    """Let agents start on a host again."""
    from codexteam.app import cluster
    from codexteam.views.cluster import print_drained

    found = output(ctx, as_json=as_json)
    drained = cluster.undrain(load_request(ctx), project_of(ctx, state_dir), name)
    return printed(found, lambda out: print_drained(out, drained))
