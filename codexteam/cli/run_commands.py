"""`run`, `plan`, `resume` and `demo`."""

from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from codexteam.cli.ci_options import Artifacts, Ci, pipeline
from codexteam.cli.fan_out import FanOut, Repo, configured_repositories, run_in_each
from codexteam.cli.given_texts import Batches, IssueName, given_goal, read_constraints, writable_file
from codexteam.cli.options import (
    global_options,
    goal_of,
    load_request,
    repositories_of,
    working_directory,
)
from codexteam.cli.printing import output, printed, project_of
from codexteam.cli.run_flags import (
    AllowGuarded,
    Approve,
    Budget,
    Constraints,
    Draft,
    Json,
    LastMessage,
    NoDocs,
    OnTaskBudget,
    Oss,
    PlanFile,
    Pr,
    Quiet,
    Record,
    Replay,
    Rounds,
    StateDir,
    Step,
    Threads,
    Wait,
    budget_flags,
    checked_globs,
    on_task_budget_flags,
    recording_flags,
    run_flags,
    setting_flag,
    step_flags,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from codexteam.app.demo import DemoOptions
    from codexteam.app.pull_request import PullWanted
    from codexteam.app.run import RunOptions, RunResult
    from codexteam.core.ids import JSONValue
    from codexteam.views.ci.pipeline_view import PipelineView
    from codexteam.views.run_view import RunView


def demo(
    ctx: typer.Context,
    folder: Annotated[
        Path | None,
        typer.Option("--dir", metavar="DIR", help="Create the sample repository here (default: a new directory)."),
    ] = None,
    speed: Annotated[
        float,
        typer.Option("--speed", metavar="N", min=0, max=1000, help="Speed of the recorded model; 0 answers at once."),
    ] = 1.0,
    json: Annotated[bool, typer.Option("--json", help="Print JSON Lines, ending with a terminal record.")] = False,  # noqa: FBT002
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Print only the final summary.")] = False,  # noqa: FBT002
) -> int:
    """Try a run on a sample repository; needs no key and no network.

    The model is a recording; everything else is real: git, sandboxes (bubblewrap, not Docker), tests, gates.
    """
    from codexteam.app.demo import DemoOptions
    from codexteam.config.request import read_environment

    place = working_directory(global_options(ctx)) / folder.expanduser() if folder is not None else None
    shown = view(ctx, json=json, quiet=quiet)
    return play_demo(DemoOptions(place, read_environment(), shown, speed), shown)


def play_demo(options: "DemoOptions", shown: "RunView") -> int:
    """Play the demo, show it, and say where to look."""
    from codexteam.app.demo import GOAL, play, prepare
    from codexteam.errors import Interrupted, SandboxUnavailable

    folder = prepare(options)
    shown.show_demo(folder, GOAL)
    try:
        code = shown.show(lambda: play(folder, options))
    except SandboxUnavailable:
        raise
    except Interrupted as error:
        shown.show_demo_end(folder, error.exit_code)
        raise
    except BaseException:
        shown.show_demo_failure(folder)
        raise
    shown.show_demo_end(folder, code)
    return code


def register(app: typer.Typer) -> None:
    """Add the commands."""
    app.command("demo")(demo)
    # more words than one are taken, to say how the goal is meant
    more = {"allow_extra_args": True}
    app.command("run", context_settings=more)(run)
    app.command("plan", context_settings=more)(plan)
    app.command("resume")(resume)


def run(  # noqa: PLR0917 - the parser fills them by name
    ctx: typer.Context,
    goal: Annotated[
        str | None, typer.Argument(metavar="GOAL", help="What to achieve; - reads it from standard input.")
    ] = None,
    issue: IssueName = None,
    plan_file: PlanFile = None,
    budget: Budget = None,
    on_task_budget: OnTaskBudget = None,
    allow_guarded: AllowGuarded = None,
    max_threads: Threads = None,
    max_rounds: Rounds = None,
    batches: Batches = None,
    approve: Approve = None,
    constraints: Constraints = None,
    step: Step = None,
    no_docs: NoDocs = False,  # noqa: FBT002 - the parser fills it by name
    record: Record = None,
    replay: Replay = None,
    oss: Oss = False,  # noqa: FBT002
    wait: Wait = False,  # noqa: FBT002
    json: Json = False,  # noqa: FBT002
    quiet: Quiet = False,  # noqa: FBT002
    last_message: LastMessage = None,
    pr: Pr = False,  # noqa: FBT002
    draft: Draft = False,  # noqa: FBT002
    ci: Ci = False,  # noqa: FBT002
    artifacts: Artifacts = None,
    repo: Repo = None,
    fan_out: FanOut = False,  # noqa: FBT002
    state_dir: StateDir = None,
) -> int:
    """Plan a goal, then implement, merge and gate until green."""
    from codexteam.app.run import run_goal

    if ci and (fan_out or repo):
        from codexteam.errors import UsageError

        flag = "--fan-out" if fan_out else "--repo"
        raise UsageError(f"--ci fits one repository, and {flag} is for several", hint="give one of them")
    flags = run_flags(budget, allow_guarded, max_threads, max_rounds, approve=approve, record=record, replay=replay)
    flags |= step_flags(step or [], no_docs=no_docs)
    flags |= on_task_budget_flags(on_task_budget)
    left = pipeline(ctx, "run", ci=ci, artifacts=artifacts, budget=budget, json=json)
    shown = view(ctx, json=json, quiet=quiet, last_message=None if fan_out else last_message, pipeline=left)
    with shown.leaving_errors():
        given = given_goal(ctx, goal_of(ctx, goal), issue, shown.note, state_dir)
        goal = given.text
        if fan_out:
            return run_in_each(ctx, goal, constraints, budget_flags(budget or []), repo or [], json=json, quiet=quiet)
        options = run_options(ctx, flags, shown, oss=oss, wait=wait, state_dir=state_dir, plan_file=plan_file)
        options = replace(_told(ctx, options, constraints, repo, issue=given.name), batches=batches or 0)
        pull = _pull(ctx, options, pr=pr, draft=draft, begins=True)
    return _shown_and_proposed(ctx, shown, lambda: run_goal(goal, options), pull)


def plan(  # noqa: PLR0917 - the parser fills them by name
    ctx: typer.Context,
    goal: Annotated[
        str | None, typer.Argument(metavar="GOAL", help="What to achieve; - reads it from standard input.")
    ] = None,
    issue: IssueName = None,
    interactive: Annotated[  # noqa: FBT002 - the parser fills it by name
        bool,
        typer.Option(
            "--interactive", "-i", help="Talk about the plan, in words or in your editor, until you approve it."
        ),
    ] = False,
    budget: Budget = None,
    on_task_budget: OnTaskBudget = None,
    allow_guarded: AllowGuarded = None,
    max_threads: Threads = None,
    constraints: Constraints = None,
    step: Step = None,
    no_docs: NoDocs = False,  # noqa: FBT002 - the parser fills it by name
    replay: Replay = None,
    oss: Oss = False,  # noqa: FBT002
    wait: Wait = False,  # noqa: FBT002
    json: Json = False,  # noqa: FBT002
    quiet: Quiet = False,  # noqa: FBT002
    last_message: LastMessage = None,
    repo: Repo = None,
    ci: Ci = False,  # noqa: FBT002
    artifacts: Artifacts = None,
    state_dir: StateDir = None,
) -> int:
    """Scout and plan only: plan.md, waves, write scopes, a forecast.

    Writes nothing but plan.md to the work tree. Work on the plan with codexteam resume.
    """
    from codexteam.app.run import plan_goal
    from codexteam.cli.plan_dialogue import require_terminal

    if interactive:
        require_terminal(view(ctx, json=json, quiet=quiet), ci=ci)
    flags = {
        **budget_flags(budget or []),
        **setting_flag("codexteam.allow_guarded", checked_globs(allow_guarded)),
        **setting_flag("codexteam.limits.max_threads", max_threads),
        **step_flags(step or [], no_docs=no_docs),
        **on_task_budget_flags(on_task_budget),
        **recording_flags(None, replay),
    }
    left = pipeline(ctx, "plan", ci=ci, artifacts=artifacts, budget=budget, json=json)
    shown = view(ctx, json=json, quiet=quiet, last_message=last_message, pipeline=left)
    with shown.leaving_errors():
        given = given_goal(ctx, goal_of(ctx, goal), issue, shown.note, state_dir)
        goal = given.text or ""
        options = run_options(ctx, flags, shown, oss=oss, wait=wait, state_dir=state_dir)
        options = _told(ctx, options, constraints, repo, issue=given.name)
    if interactive:
        from codexteam.cli.plan_dialogue import plan_in_dialogue

        return plan_in_dialogue(lambda: plan_goal(goal, options), options, shown)
    return shown.show(lambda: plan_goal(goal, options))


def resume(  # noqa: PLR0917 - the parser fills them by name
    ctx: typer.Context,
    name: Annotated[
        str | None, typer.Argument(metavar="RUN", help="Run id or unique prefix (default: the newest).")
    ] = None,
    last: Annotated[bool, typer.Option("--last", help="Resume the newest run.")] = False,  # noqa: FBT002
    plan_file: Annotated[Path | None, typer.Option("--plan", metavar="FILE", hidden=True)] = None,
    budget: Budget = None,
    on_task_budget: OnTaskBudget = None,
    allow_guarded: AllowGuarded = None,
    max_threads: Threads = None,
    max_rounds: Rounds = None,
    batches: Batches = None,
    approve: Approve = None,
    step: Step = None,
    no_docs: NoDocs = False,  # noqa: FBT002 - the parser fills it by name
    record: Record = None,
    replay: Replay = None,
    oss: Oss = False,  # noqa: FBT002
    wait: Wait = False,  # noqa: FBT002
    json: Json = False,  # noqa: FBT002
    quiet: Quiet = False,  # noqa: FBT002
    last_message: LastMessage = None,
    pr: Pr = False,  # noqa: FBT002
    draft: Draft = False,  # noqa: FBT002
    ci: Ci = False,  # noqa: FBT002
    artifacts: Artifacts = None,
    state_dir: StateDir = None,
) -> int:
    """Continue a run from its last checkpoint.

    Flags need not be repeated. What is given here, including -c and -m, replaces what was given before, and is kept
    for later resumes. Limits are those in force now.
    """
    from codexteam.app.run import resume_run
    from codexteam.errors import UsageError

    if last and name:
        raise UsageError(f"--last and RUN ({name}) name different things", hint="give one of them")
    flags = run_flags(budget, allow_guarded, max_threads, max_rounds, approve=approve, record=record, replay=replay)
    flags |= step_flags(step or [], no_docs=no_docs)
    flags |= on_task_budget_flags(on_task_budget)
    left = pipeline(ctx, "resume", ci=ci, artifacts=artifacts, budget=budget, json=json)
    shown = view(ctx, json=json, quiet=quiet, last_message=last_message, pipeline=left)
    with shown.leaving_errors():
        options = run_options(ctx, flags, shown, oss=oss, wait=wait, state_dir=state_dir, plan_file=plan_file)
        options = replace(options, batches=batches or 0)
        pull = _pull(ctx, options, pr=pr, draft=draft, run=name)
    return _shown_and_proposed(ctx, shown, lambda: resume_run(name, options), pull)


def _told(
    ctx: typer.Context, options: "RunOptions", constraints: str | None, repo: list[str] | None, *, issue: str
) -> "RunOptions":
    """Return the options with what a run is told once, when it begins."""
    repositories = repositories_of(ctx, repo or [])
    return replace(options, constraints=read_constraints(ctx, constraints), repositories=repositories, issue=issue)


def _pull(
    ctx: typer.Context, options: "RunOptions", *, pr: bool, draft: bool, run: str | None = None, begins: bool = False
) -> "PullWanted | None":
    """Return the pull request that is wanted of a run, after a look at whether it could be opened.

    `run` is the one to be continued, the newest without a name; `begins` is whether it is a new one.

    Raises:
        LandingError: it could not; nothing was spent yet.
    """
    from codexteam.errors import UsageError

    if not pr:
        if draft:
            raise UsageError("--draft says how a pull request is opened", hint="codexteam run --pr --draft")
        return None
    from codexteam.app.linked_pulls import check_access_to_all, repositories_of_run
    from codexteam.app.pull_request import PullWanted
    from codexteam.app.several import wanted_repositories

    wanted, project = PullWanted(draft=draft), project_of(ctx, options.state_dir)
    if begins:
        named = wanted_repositories(project, options.repositories, configured_repositories(ctx))
    else:
        named = repositories_of_run(project, run)
    check_access_to_all(project, named, wanted)
    return wanted


def _shown_and_proposed(
    ctx: typer.Context, shown: "RunView", run: "Callable[[], RunResult]", wanted: "PullWanted | None"
) -> int:
    """Show a run; where it ends green and that is wanted, open its pull request."""
    results: list[RunResult] = []

    def kept() -> "RunResult":
        results.append(run())
        return results[-1]

    code = shown.show(kept)
    if wanted is None or not results or results[-1].plan is not None:
        return code
    result = results[-1]
    if code != 0 or result.project is None or result.progress.result != "green":
        shown.note("no pull request: the run is not green; codexteam pr --even-if-not-green opens a draft")
        return code
    from codexteam.app.linked_pulls import publish_pulls
    from codexteam.app.pull_request import changed_nothing
    from codexteam.app.reports import run_report
    from codexteam.errors import CodexteamError
    from codexteam.views.report.pull_lines import print_pulls
    from codexteam.views.report.pull_request import render_pull_request

    report = run_report(result.project, result.run_id)
    if changed_nothing(report):
        shown.note("no pull request: the run changed nothing")
        return code
    try:
        pulls = publish_pulls(result.project, report, wanted, partial(render_pull_request, report))
    except CodexteamError as error:
        if shown.pipeline is not None:
            shown.pipeline.not_published(str(error), error.hint, error.exit_code)
        raise
    if shown.pipeline is not None:
        shown.pipeline.published([each.url for each in pulls])
    return printed(output(ctx, as_json=shown.json_lines), lambda out: print_pulls(out, pulls))


def run_options(
    ctx: typer.Context,
    flags: "dict[str, JSONValue]",
    shown: "RunView",
    *,
    oss: bool,
    wait: bool,
    state_dir: Path | None,
    plan_file: Path | None = None,
) -> "RunOptions":
    from codexteam.app.run import RunOptions

    load = load_request(ctx)
    # what all commands take may be said before the command too, or be a flag of the parser's alone
    load = replace(load, flags={**load.flags, **flags}, oss=oss or load.oss, untrusted=shown.pipeline is not None)
    return RunOptions(load, shown, state_dir=state_dir, plan_file=plan_file, wait=wait)


def view(
    ctx: typer.Context,
    *,
    json: bool,
    quiet: bool = False,
    last_message: Path | None = None,
    pipeline: "PipelineView | None" = None,
) -> "RunView":
    """Return how a command shows what happens.

    Raises:
        UsageError: the file for the last message cannot be written.
    """
    from codexteam.config.request import read_environment
    from codexteam.views.run_view import RunView

    file = None if last_message is None else writable_file(ctx, last_message)
    color = global_options(ctx).color.value
    shown = RunView(json_lines=json, quiet=quiet, color=color, last_message=file, environment=read_environment())
    return shown if pipeline is None else shown.in_pipeline(pipeline)
