"""`deploy`: a green run goes where the user has set, once a person has approved it."""

from typing import TYPE_CHECKING, Annotated

import typer

from codexteam.cli.options import load_request
from codexteam.cli.printing import Json, StateDir, output, printed, project_of
from codexteam.cli.view_commands import RunName

if TYPE_CHECKING:
    from codexteam.views.streams import OutputStreams

_WAITS = 5


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("deploy")(deploy)


def deploy(
    ctx: typer.Context,
    *,
    name: RunName = None,
    approve: Annotated[
        str | None,
        typer.Option(
            "--approve", metavar="COMMIT", help="Approve it without being asked: the commit that is deployed."
        ),
    ] = None,
    again: Annotated[bool, typer.Option("--again", help="Also what was deployed, or begun, before.")] = False,
    as_json: Json = False,
    state_dir: StateDir = None,
) -> int:
    """Deploy a green run, once you have approved it.

    [codexteam.deploy] in your own settings says how: a command, which gets CODEXTEAM_COMMIT, CODEXTEAM_BRANCH, CODEXTEAM_RUN
    and CODEXTEAM_RELEASE_NOTES, or a workflow on GitHub. Without --approve it shows what would happen and asks; where nobody
    can be asked, nothing is done, with exit code 5.
    """
    import sys

    from codexteam.app.deployment import check_approval, do_deployment, find_deployment, refuse_second
    from codexteam.config.load import load_settings
    from codexteam.views.deployment import print_deployed, print_deployment

    project, out = project_of(ctx, state_dir), output(ctx, as_json=as_json)
    settings = load_settings(load_request(ctx)).team.deploy
    found = find_deployment(project, settings, name)
    if not again:
        refuse_second(found)
    if approve is not None:
        check_approval(found, approve)
    asks = approve is None and not as_json and sys.stdin.isatty() and sys.stderr.isatty()
    waits = approve is None and not asks
    code = printed(out, lambda shown: print_deployment(shown, found, waits=waits))
    if code:
        return code
    if waits:
        return _WAITS
    if asks and not typer.confirm("Deploy this?", err=True):
        out.note("nothing was deployed")
        return _WAITS
    do_deployment(project, settings, found, again=again)

    def show(shown: "OutputStreams") -> None:
        print_deployed(shown, found)

    return printed(out, show)
