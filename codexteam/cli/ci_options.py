"""`--ci`: how a command behaves in a pipeline."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from codexteam.cli.options import global_options, working_directory

if TYPE_CHECKING:
    from codexteam.views.ci.pipeline_view import PipelineView

Ci = Annotated[
    bool,
    typer.Option(
        "--ci",
        help="In a pipeline: folds its log, annotates findings, leaves files for later jobs, asks nobody. Needs --budget.",
    ),
]
Artifacts = Annotated[
    Path | None,
    typer.Option(
        "--artifacts", metavar="DIR", help="With --ci: where these files go (on GitHub: codexteam in RUNNER_TEMP)."
    ),
]


def pipeline(
    ctx: typer.Context, command: str, *, ci: bool, artifacts: Path | None, budget: list[str] | None, json: bool
) -> "PipelineView | None":
    """Return what a command shows and leaves in a pipeline; None without `--ci`.

    Raises:
        UsageError: nothing limits what is spent where nobody watches, or what is given contradicts it.
        SurroundingsError: the folder for files cannot be written.
    """
    from codexteam.errors import UsageError

    if not ci:
        if artifacts is not None:
            raise UsageError(
                "--artifacts says where --ci leaves files", hint=f"codexteam {command} --ci --artifacts DIR"
            )
        return None
    if not budget or any(amount.strip().lower() == "none" for amount in budget):
        found = "it is none" if budget else "it is missing"
        raise UsageError(
            f"--ci needs --budget, a limit on what is spent while nobody watches: {found}",
            hint="for example --budget 5usd",
        )
    if json:
        raise UsageError(
            "--json and --ci both say what is printed",
            hint="leave --json out: --ci leaves events.jsonl and result.json",
        )
    from codexteam.app.ci.surroundings import ci_surroundings, make_folder
    from codexteam.config.request import read_environment
    from codexteam.views.ci.job_files import JOB_FILES
    from codexteam.views.ci.pipeline_view import PipelineView

    surroundings = ci_surroundings(read_environment(), artifacts, working_directory(global_options(ctx)))
    make_folder(surroundings.artifacts, JOB_FILES)
    return PipelineView(surroundings, command)
