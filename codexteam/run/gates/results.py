"""What commands return on a tree: run once for each tree, command and environment, and kept for the rest of the run.

Acceptance, gates, bisecting and the merging of extras all ask here, so that what one of them saw run serves the others;
`gates.ci.baseline` keeps what it sees on base commits for later runs as well, and that is found here too. Kept is what
ended by itself and checked something: what was killed, timed out or could not run says nothing about the next time.
"""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial

from codexteam.core.codec import decode
from codexteam.core.ids import CommitId, RunId
from codexteam.run.command_environments import SetupFailed
from codexteam.run.command_outcome import CommandOutcome
from codexteam.run.context import RunContext
from codexteam.run.gates.commands import check_commit, placed

#: Space of the store for outcomes on base commits, kept between runs.
BASELINES = "baselines"
#: Space of a run's outcomes, with the same keys; `codexteam clean` removes them with the run.
_RESULTS = "results"


def results_space(run_id: RunId) -> str:
    """Return where a run's outcomes are in the store."""
    return f"{run_id}/{_RESULTS}"


async def outcomes_on(
    context: RunContext,
    commit: CommitId,
    commands: Sequence[str],
    *,
    name: str,
    number: int = 1,
    timeout_seconds: float | None = None,
    again_if_failed: bool = False,
) -> list[CommandOutcome]:
    """Return what commands return on a commit's tree; only those run of which it is not known yet.

    With `again_if_failed` a known failure counts for nothing: who insists gets another look. `name` and `number` are
    those of `check_commit`.

    Raises:
        SandboxUnavailable: no sandbox can be started.
        SandboxLost: it went away, twice; nothing is known of the commands.
    """
    found: dict[str, CommandOutcome] = {}
    for place in await placed(context, commit, commands) if commands else ():
        run = partial(check_commit, context, commit, name=name, number=number, timeout_seconds=timeout_seconds)
        if isinstance(place.key, SetupFailed):
            ran = await run(place.commands)
        else:
            keys = await result_keys(context, commit, place.commands, place.key)
            ran = await _once(context, keys, partial(run, environment_key=place.key), again_if_failed=again_if_failed)
        found.update((outcome.command, outcome) for outcome in ran)
    return [found[command] for command in dict.fromkeys(commands)]


async def _once(
    context: RunContext,
    keys: Mapping[str, str],
    run: Callable[[Sequence[str]], Awaitable[list[CommandOutcome]]],
    *,
    again_if_failed: bool,
) -> list[CommandOutcome]:
    """Return what the commands of one environment return, each kept under its key; run those of which it is not known."""
    async with context.awaiting(keys.values()):
        known = {command: await _known(context, key) for command, key in keys.items()}
        missing = [
            command for command, outcome in known.items() if outcome is None or (again_if_failed and not outcome.ok)
        ]
        for outcome in await run(missing):
            known[outcome.command] = outcome
            if outcome.has_ended and outcome.ending.checked:
                await context.remember(_RESULTS, keys[outcome.command], outcome)
    return [outcome for outcome in known.values() if outcome is not None]


async def result_keys(
    context: RunContext, commit: CommitId, commands: Sequence[str], environment_key: str
) -> dict[str, str]:
    """Return under which key the outcome of each command on a commit's tree is kept."""
    if not commands:
        return {}
    tree = await context.repo.tree_of(commit)
    image = context.settings.team.sandbox.image or context.engine.name
    place = f"{image}+{environment_key}" if environment_key else image
    return {command: f"{tree}/{place}/{command}" for command in commands}


async def kept_baseline(context: RunContext, key: str) -> CommandOutcome | None:
    """Return what a command returned on a base commit, in this run or in another."""
    kept = await context.store.get(BASELINES, key)
    outcome = None if kept is None else decode(CommandOutcome, kept, f"the stored outcome of {key}")
    # an older version kept for ever what could not run; since then it may run
    return outcome if outcome is not None and outcome.ending.checked else None


async def _known(context: RunContext, key: str) -> CommandOutcome | None:
    outcome = await context.recall(_RESULTS, key, CommandOutcome) or await kept_baseline(context, key)
    return None if outcome is None else replace(outcome, reused=True)
