"""`ci`: writes workflows, and does what their jobs need beside runs."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from codexteam.cli.options import checked_text, global_options, load_request, repositories_of, working_directory
from codexteam.cli.printing import Json, output, printed, project_of

if TYPE_CHECKING:
    from codexteam.views.streams import OutputStreams

Folder = Annotated[Path, typer.Argument(metavar="DIR", help="The folder that a job with --ci has left.")]


def register(app: typer.Typer) -> None:
    """Add the commands."""
    ci = typer.Typer(
        help="Write workflows for a pipeline, and do what their jobs need.",
        no_args_is_help=True,
        rich_markup_mode=None,
    )
    ci.command("init")(init)
    ci.command("request")(request)
    ci.command("comment")(comment)
    ci.command("publish")(publish)
    app.add_typer(ci, name="ci")


def init(
    ctx: typer.Context,
    system: Annotated[str, typer.Argument(metavar="SYSTEM", help="Whose files are written: github or gitlab.")],
    *,
    budget: Annotated[str, typer.Option("--budget", metavar="AMOUNT", help="The limit of each job.")] = "5usd",
    package: Annotated[
        str | None,
        typer.Option("--package", metavar="SPEC", help="What pip installs in a job (default: this version)."),
    ] = None,
    key: Annotated[
        str, typer.Option("--key", metavar="NAME", help="The variable, and the secret, with the model's key.")
    ] = "OPENAI_API_KEY",
    force: Annotated[bool, typer.Option("--force", help="Replace files that differ; a backup is kept.")] = False,
) -> int:
    """Write workflows that plan on pull requests, run and publish.

    The jobs that ask a model cannot write to the repository; the jobs that write have no model key.
    """
    from codexteam import __version__
    from codexteam.cli.run_flags import budget_flags
    from codexteam.config.installing import install
    from codexteam.config.locations import project_root
    from codexteam.config.pipeline_files import PipelineWanted, github_files, gitlab_files
    from codexteam.errors import UsageError
    from codexteam.views.ci.setup import print_pipeline
    from codexteam.views.setup import print_installed

    if system not in {"github", "gitlab"}:
        raise UsageError(f"SYSTEM {system!r}: allowed are github and gitlab", hint="codexteam ci init github")
    budget_flags([budget])
    wanted = PipelineWanted(budget, checked_text("--package", package or f"codexteam=={__version__}"), key)
    files = github_files(wanted) if system == "github" else gitlab_files(wanted)
    load = load_request(ctx)
    root = project_root(load.cwd, (".git",))
    installed = install(files, root, force=force, within=root)

    def show(out: "OutputStreams") -> None:
        print_installed(out, installed, load.environment)
        print_pipeline(out, wanted, system)

    return printed(output(ctx, as_json=False), show)


def request(
    ctx: typer.Context,
    *,
    if_asked: Annotated[
        bool,
        typer.Option("--if-asked", help="Where nobody who may asks for anything: succeed, and leave no outputs."),
    ] = False,
) -> int:
    """In a workflow: read what its event asks for; refuse who may not.

    Writes the goal into a file, and head, base, number and goal-file to the job's outputs.
    """
    from codexteam.app.ci.request import NobodyAsks, leave_request, read_request
    from codexteam.config.request import read_environment

    environment = read_environment()
    asked = read_request(environment)
    if isinstance(asked, NobodyAsks):
        if not if_asked:
            raise asked.refused()
        why = asked.why
        return printed(output(ctx, as_json=False), lambda out: out.note(f"nothing to do: {why}"))
    file = leave_request(asked, environment)
    where = f"pull request {asked.number}" if asked.number else asked.base or "the default branch"
    return printed(output(ctx, as_json=False), lambda out: out.note(f"{where} at {asked.head[:12]}; goal: {file}"))


def comment(
    ctx: typer.Context,
    folder: Folder,
    *,
    pull: Annotated[int, typer.Option("--pr", metavar="N", min=1, help="The pull request.")],
) -> int:
    """In a workflow: comment with a plan and its forecast."""
    from codexteam.app.ci.plan_comment import put_plan_comment
    from codexteam.config.request import read_environment
    from codexteam.views.ci.job_files import SUMMARY

    summary = working_directory(global_options(ctx)) / folder.expanduser() / SUMMARY
    put = put_plan_comment(read_environment(), summary, pull)

    def show(out: "OutputStreams") -> None:
        out.write(f"{put.url}\n")
        out.note("wrote the comment" if put.created else "brought the comment up to date")

    return printed(output(ctx, as_json=False), show)


def publish(
    ctx: typer.Context,
    folder: Folder,
    *,
    base: Annotated[
        str,
        typer.Option("--base", metavar="BRANCH", help="The branch to merge into (default: the repository's default)."),
    ] = "",
    remote: Annotated[str, typer.Option("--remote", metavar="NAME", help="The remote to push to.")] = "origin",
    repo: Annotated[
        list[str] | None,
        typer.Option(
            "--repo", metavar="NAME=PATH", help="Of a run in several repositories: where each is checked out."
        ),
    ] = None,
    draft: Annotated[bool, typer.Option("--draft", help="Open it as a draft.")] = False,
    not_green: Annotated[
        bool, typer.Option("--even-if-not-green", help="Also what a run left that is not green; always a draft.")
    ] = False,
    as_json: Json = False,
) -> int:
    """In a workflow: push another job's branch; open its pull request.

    Of several repositories, in each.
    """
    from codexteam.app.ci.gitlab import on_gitlab, push_handover
    from codexteam.app.ci.handover import publish_handover, publish_parts, read_handover
    from codexteam.app.pull_request import PullWanted
    from codexteam.app.repositories import find_named
    from codexteam.errors import UsageError
    from codexteam.views.ci.setup import print_nothing_to_publish, print_pushed
    from codexteam.views.report.pull_lines import print_pull, print_pulls

    project = project_of(ctx, None)
    handed = read_handover(working_directory(global_options(ctx)) / folder.expanduser())
    if handed is None:
        return printed(output(ctx, as_json=as_json), print_nothing_to_publish)
    wanted = PullWanted(
        checked_text("--base", base),
        checked_text("--remote", remote),
        draft=draft,
        not_green=not_green,
        sign_in=True,
    )
    if bool(handed.parts) is not bool(repo):
        raise UsageError(
            f"the run worked on several repositories ({', '.join(part.name for part in handed.parts)})"
            if handed.parts
            else "--repo names repositories, and the run worked on one",
            hint="--repo NAME=PATH says where each is checked out" if handed.parts else "leave it out",
        )
    if handed.parts:
        if on_gitlab(project.environment):
            raise UsageError(
                "the run worked on several repositories, which this command publishes on GitHub alone",
                hint="take each branch.NAME.bundle with git fetch, and push it",
            )
        named = find_named(repositories_of(ctx, repo or []), project.environment)
        pulls = publish_parts(project, handed, named, wanted)
        return printed(output(ctx, as_json=as_json), lambda out: print_pulls(out, pulls))
    if on_gitlab(project.environment):
        pushed = push_handover(project, handed, wanted.base, draft=draft, not_green=not_green)
        return printed(output(ctx, as_json=as_json), lambda out: print_pushed(out, pushed))
    pull = publish_handover(project, handed, wanted)
    return printed(output(ctx, as_json=as_json), lambda out: print_pull(out, pull))
