"""Passes a run's facts to the user's hooks, one after the other, beside the run."""

import asyncio
from collections.abc import Callable

from codexteam.app.project import Project
from codexteam.config.hooks import HookEvent
from codexteam.config.settings import Settings
from codexteam.core.ids import JSONObject
from codexteam.ports.hooks import HookOutcome, Hooks
from codexteam.ports.reporter import RunEvent
from codexteam.ports.store import RunRecord
from codexteam.run.pre_merge import problem_of
from codexteam.system.cancellation import stopped

#: How long the end of a run waits for hooks, beyond the time of the last one's commands.
_LAST_SECONDS = 60.0
#: What is shown of a failing hook's own words.
_SAID_CHARS = 400
#: Facts that hooks are told of.
_EVENTS = {
    "run.opened": HookEvent.RUN_STARTED,
    "plan.created": HookEvent.PLAN_READY,
    "task.started": HookEvent.TASK_STARTED,
    "task.merged": HookEvent.TASK_MERGED,
    "gate.completed": HookEvent.GATE_FINISHED,
    "run.finished": HookEvent.RUN_FINISHED,
    "run.broken_off": HookEvent.RUN_FINISHED,
}


def make_hooks(settings: Settings, project: Project, run: RunRecord) -> Hooks | None:
    """Return what runs the user's hooks; None where there are none."""
    if settings.team.hooks.is_empty:
        return None
    from codexteam.adapters.machine.hook_commands import HookCommands

    root = project.places.root
    common: JSONObject = {
        "run_id": run.run_id,
        "goal": run.goal,
        "cwd": str(root),
        "git_dir": str(project.state_dir / "hub.git"),
    }
    return HookCommands(settings.team.hooks, root, project.environment, common)


class HookReporter:
    """Runs hooks that only observe, in the order of what happened. The run does not wait for them until its end."""

    def __init__(
        self, hooks: Hooks, report: Callable[[str], None], warn: Callable[[str], None], *, resumed: bool
    ) -> None:
        """Take what runs them; of one that fails `report` makes a fact, and `warn` a line after the run's last fact."""
        self._hooks = hooks
        self._report = report
        self._warn = warn
        self._resumed = resumed
        self._has_ended = False
        self._waiting: asyncio.Queue[tuple[HookEvent, JSONObject] | None] = asyncio.Queue()
        self._working: asyncio.Task[None] | None = None

    def report(self, event: RunEvent) -> None:
        """Take a fact of the run."""
        moment, fields = _EVENTS.get(event.kind), event.fields
        if moment is HookEvent.RUN_STARTED:
            fields = {**fields, "source": "resume" if self._resumed else "startup"}
        if moment is not None and not (moment is HookEvent.PLAN_READY and not fields.get("tasks")):
            self._add(moment, fields)
        self._has_ended = self._has_ended or moment is HookEvent.RUN_FINISHED

    def close(self) -> None:
        """Nothing: `finish` ends what was begun."""

    def _add(self, event: HookEvent, fields: JSONObject) -> None:
        if not self._hooks.has(event):
            return
        self._waiting.put_nowait((event, fields))
        if self._working is None:
            self._working = asyncio.create_task(self._work())

    async def _work(self) -> None:
        while (each := await self._waiting.get()) is not None:
            event, fields = each
            for outcome in await self._hooks.run(event, fields):
                if (failed := _failed_words(outcome)) is not None:
                    self._say(f"the {event.value} hook `{outcome.command}` failed: {failed}")

    def _say(self, text: str) -> None:
        say = self._warn if self._has_ended else self._report
        say(text)

    async def finish(self, last_seconds: float = _LAST_SECONDS) -> None:
        """Let those run that wait; what takes too long is ended and said."""
        working, self._working = self._working, None
        if working is None:
            return
        self._waiting.put_nowait(None)
        try:
            async with asyncio.timeout(last_seconds):
                await asyncio.shield(working)
        except TimeoutError:
            left = self._waiting.qsize()
            self._say(f"hooks took more than {last_seconds:g} s after the run's end; {left} were not run")
        finally:
            await stopped(working)


def _failed_words(outcome: HookOutcome) -> str | None:
    problem = problem_of(outcome)
    if problem is None and outcome.exit_code == 0:
        return None
    said = (outcome.stderr or outcome.stdout).strip()[-_SAID_CHARS:]
    return problem or f"exit code {outcome.exit_code}" + (f": {said}" if said else "")
