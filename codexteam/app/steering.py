"""Messages to a run's agents; pause and stop of a run that is at work."""

import asyncio

from codexteam.app import requests
from codexteam.app.delivery import deliver
from codexteam.app.group_access import PostedEvent
from codexteam.app.inspect import OVER, task_of
from codexteam.app.live_requests import POSTED_WORDS, Fate, Refusal, Reply, ask_live, ended, interrupt
from codexteam.app.posting import post_request, posts
from codexteam.app.project import Project, live_run, pick_run, reading_store, state_of
from codexteam.core.effects import MakePlan, Replan
from codexteam.core.events import Continued, PauseRequested, StopRequested
from codexteam.core.ids import TaskId
from codexteam.core.state import RunPhase, RunState, TaskPhase
from codexteam.core.steering_events import PLANNER, MessageLeft
from codexteam.errors import UsageError
from codexteam.ports.store import RunRecord

#: What the planner may be called: by what it does, or by its role.
_PLANNER_NAMES = frozenset({PLANNER, "orchestrator"})


def say(project: Project, to: str, text: str, run: str | None) -> Reply:
    """Send a message to who works on a task, or to the planner; it is kept until somebody reads it.

    Raises:
        UsageError: nobody will work on the task, or the run is over.
    """
    return asyncio.run(_say(project, to, text, run))


async def _say(project: Project, to: str, text: str, run: str | None) -> Reply:
    async with reading_store(project) as store:
        record = await pick_run(store, run or live_run(project))
        state = await state_of(store, record)
    name = PLANNER if to.casefold() in _PLANNER_NAMES else task_of(state, to).task.id
    delivered = await deliver(project, record, MessageLeft(name, text))
    match delivered.fate:
        case Fate.TAKEN:
            return Reply(record.run_id, name, _read_when(name, delivered.after), "taken")
        case Fate.LEFT:
            return Reply(record.run_id, name, "the run reads it shortly", "left")
        case Fate.POSTED:
            return Reply(record.run_id, name, POSTED_WORDS, "posted")
        case Fate.OVER:
            words = f"kept; {_read_when(name, delivered.after).removeprefix('sent; ')}. Continue: codexteam resume"
            return Reply(record.run_id, name, words, "stored", resumable=True)


def _read_when(name: str, state: RunState) -> str:
    """Say who reads a message that was left, and when."""
    if name == PLANNER:
        begun = (*state.in_flight.values(), *(shelved.effect for shelved in state.shelved.values()))
        if any(isinstance(effect, MakePlan | Replan) for effect in begun):
            return "sent; the planner reads it before its next turn"
        if state.phase in {RunPhase.NEW, RunPhase.PREPARING, RunPhase.SCOUTING, RunPhase.PLANNING}:
            return "sent; the planner begins with it"
        return 'kept for when the gates find something to plan; to have more done now: codexteam add "..."'
    match state.tasks[TaskId(name)].phase:
        case TaskPhase.WORKING:
            return f"sent; {name}'s agent reads it before its next turn (if it has had its last, the log says so)"
        case TaskPhase.FAILED:
            return f"kept; {name} failed, and its next attempt begins with it: codexteam retry {name}"
        case _:
            return f"kept; the next attempt at {name} begins with it"


def _gone_on(record: RunRecord, hint: str) -> str:
    return 'it is over; codexteam run "goal" begins another' if record.state in OVER else hint


def pause(project: Project, run: str | None, *, off: bool, resumes: bool = False) -> Reply:
    """Let no new agent start, or let them start again.

    Args:
        project: the repository.
        run: a run's name; without it, the active run.
        off: end the pause.
        resumes: who asks continues the run where nobody works on it.

    Raises:
        UsageError: the run is not running.
    """
    asked: PostedEvent = Continued() if off else PauseRequested()
    words = (
        "new agents start again"
        if off
        else "paused: no new agents; running ones finish. Continue: codexteam pause --off (once they have: --resume too)"
    )
    return asyncio.run(_steer(project, run, asked, words=words, resumes=resumes))


def stop(project: Project, run: str | None, *, now: bool) -> Reply:
    """Stop a run so that it can be resumed; running agents finish first, or are cut off with `now`.

    Raises:
        UsageError: there is no such run, or it is not running.
    """
    asked: PostedEvent = requests.StopNow() if now else StopRequested("codexteam stop", requests.STOP_EXIT_CODE)
    words = "stopping. Continue: codexteam resume" if now else "running agents finish first; codexteam logs -f shows it"
    return asyncio.run(_steer(project, run, asked, words=words, resumes=False))


def stop_agent(project: Project, agent: str, run: str | None) -> Reply:
    """End one agent that is at work; its attempt fails, and the task is tried again where attempts are left.

    Raises:
        UsageError: the run is not running, or no such agent is at work.
    """
    words = f"{agent} is stopped; its work is kept, and its task is tried again if attempts are left"
    return asyncio.run(_steer(project, run, requests.StopAgent(agent), words=words, resumes=False))


async def _steer(project: Project, run: str | None, asked: PostedEvent, *, words: str, resumes: bool) -> Reply:
    async with reading_store(project) as store:
        live = live_run(project)
        # without a name the active run is meant, whether it is the newest or not
        record = await pick_run(store, run or live)
    run_id = record.run_id
    if live != run_id:
        if resumes and record.state not in OVER:
            return Reply(run_id, run_id, "", "over", resumable=True)
        raise UsageError(f"run {run_id} is not running", hint=_gone_on(record, "continue it: codexteam resume"))
    heard = await post_request(project, run_id, asked) if posts(project) else await ask_live(project, run_id, asked)
    stops = isinstance(asked, requests.StopNow | StopRequested)
    if heard is Fate.LEFT and stops and interrupt(project, run_id):
        heard = Fate.TAKEN
    if isinstance(asked, requests.StopNow) and heard in {Fate.TAKEN, Fate.OVER}:
        is_over = heard is Fate.OVER or await ended(project, run_id)
        words = "stopped. Continue: codexteam resume" if is_over else "it is being stopped"
        return Reply(run_id, run_id, words, "taken")
    match heard:
        case Refusal(why):
            raise UsageError(f"run {run_id}: {why}")
        case Fate.TAKEN:
            return Reply(run_id, run_id, words, "taken")
        case Fate.LEFT:
            return Reply(run_id, run_id, "the run reads it shortly", "left")
        case Fate.OVER | Fate.POSTED:
            return Reply(run_id, run_id, "it has just ended", "over", resumable=resumes)
