"""What happens around a run: stopped, refused, waiting, out of budget; and continued with."""

import asyncio
import json
import signal
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import cast

import pytest

from codexteam.core.ids import JSONObject
from tests.demo.script import report, run, task
from tests.e2e import one_task
from tests.e2e.conftest import MakeWorld
from tests.e2e.eight_tasks import SAMPLE
from tests.e2e.one_task import GOAL, TEAM
from tests.e2e.world import KEY, KEY_NAME, Ended, World, files_with, fingerprint, processes_of, tree_of
from tests.faults.invariants import rows
from tests.scripted_api.script import Call, HttpError, Played, Reset, message
from tests.support_engine import SANDBOX_IMAGE, asks, door

pytestmark = [pytest.mark.complete, pytest.mark.bubblewrap, pytest.mark.timeout(600)]


def check_green(world: World, ended: Ended) -> None:
    assert ended.code == 0, ended.out + ended.err
    assert world.git("rev-parse", f"{world.branch}^{{tree}}").strip() == tree_of(world, one_task.expected())
    assert processes_of(world) == []


def test_json_lines_end_with_how_it_ended_and_nothing_else_is_on_stdout(make: MakeWorld) -> None:
    world, _ = make(TEAM, one_task.play)
    ended = world.run("run", GOAL, "--json")
    check_green(world, ended)
    last = ended.lines[-1]
    assert (last["kind"], last["result"], last["exit_code"]) == ("run.finished", "green", 0)
    assert {event["run"] for event in ended.lines} == {world.run_folder.name}
    assert [event["kind"] for event in ended.lines] == [event["kind"] for event in world.events()]


def test_a_wrong_key_stops_before_any_work_and_the_right_one_goes_on(make: MakeWorld) -> None:
    world, api = make(TEAM, one_task.play)
    before = fingerprint(world)
    wrong = "wrong-" + KEY[::-1]
    ended = world.run("run", GOAL, "--json", **{KEY_NAME: wrong})
    assert ended.code == 6, ended.out + ended.err
    assert (ended.lines[-1]["kind"], ended.lines[-1]["exit_code"]) == ("run.broken_off", 6)
    assert ended.lines[-1] == world.events()[-1]
    assert KEY_NAME in ended.err
    assert "error: Loopback (" in world.run("logs").out.splitlines()[-1]
    assert "hint:" in ended.err
    assert wrong not in ended.out + ended.err
    assert files_with(world, wrong) == []
    asked = len(api.requests)
    assert asked <= 3, "a key that is refused once is not tried again"
    check_green(world, world.run("resume"))
    assert fingerprint(world) == before


def test_a_budget_that_is_too_small_ends_with_4_and_a_larger_one_goes_on(make: MakeWorld) -> None:
    world, api = make(TEAM, one_task.play)
    ended = world.run("run", GOAL, "--budget", "12k")
    assert ended.code == 4, ended.out + ended.err
    assert "codexteam resume --budget" in ended.out
    spent = sum(request.input_tokens for request in api.requests)
    assert spent <= 12_000
    check_green(world, world.run("resume", "--budget", "20m"))


def test_limits_that_are_given_when_a_run_goes_on_count_from_there(make: MakeWorld) -> None:
    def play(call: Call) -> Played:
        if call.purpose == "review":
            return [message({"verdict": "ship", "summary": "Good.", "findings": [], "risks": []})]
        return one_task.play(call)

    world, api = make(TEAM, play)
    assert world.run("run", GOAL, "--approve", "plan", "--budget", "20m", "-m", "gpt-5.4-mini").code == 5
    assert world.run("answer", "plan", "yes").code == 0
    asked = len(api.requests)

    lower = world.run("resume", "-c", "codexteam.budget.run_tokens=1000")
    assert lower.code == 4, lower.out + lower.err
    assert len(api.requests) == asked, "more than that is spent already"

    assert world.run("resume").code == 4, "what was said last counts until something newer is said"
    assert len(api.requests) == asked

    more = ("-c", 'codexteam.gates.enabled=["ci_runner", "reviewer"]', "-c", "model=gpt-5.4", "--budget", "20m")
    check_green(world, world.run("resume", *more))
    later = api.requests[asked:]
    assert {request.call.body["model"] for request in later} == {"gpt-5.4"}
    assert "review" in {request.call.purpose for request in later}


def test_a_plan_of_too_many_tasks_is_taken_when_the_limit_is_raised(make: MakeWorld) -> None:
    def play(call: Call) -> Played:
        if call.purpose == "plan":
            checks = task(
                "T2", "Say that there is a table", paths=["NOTES.md"], check="tests.test_markdown", deps=["T1"]
            )
            return [
                message({**one_task.plan(), "tasks": [*cast("list[JSONObject]", one_task.plan()["tasks"]), checks]})
            ]
        return [report("It is said.")] if call.task_id == "T2" else one_task.play(call)

    world, _ = make(TEAM, play)
    few = ("-c", "codexteam.limits.max_tasks=1")
    ended = world.run("run", GOAL, *few)
    assert ended.code == 3, ended.out + ended.err
    assert "2 tasks: at most 1 are allowed" in ended.out
    assert world.run("resume").code == 3, "its flags need not be repeated"
    check_green(world, world.run("resume", "-c", "codexteam.limits.max_tasks=2"))


def test_words_to_a_plan_survive_a_spent_budget(make: MakeWorld) -> None:
    world, api = make(TEAM, one_task.play)
    assert world.run("run", GOAL, "--approve", "plan").code == 5
    assert world.run("answer", "plan", "--no", "Call it a grid.").code == 0
    assert world.run("resume", "--budget", "1k").code == 4
    asked = len(api.requests)

    assert world.run("resume", "--budget", "20m").code == 5
    [again] = [request for request in api.requests[asked:] if request.call.purpose == "plan"]
    assert "The user says: Call it a grid." in json.dumps(again.call.body["input"])


def test_a_budget_of_nothing_makes_no_call_and_a_resumes_budget_holds(make: MakeWorld) -> None:
    world, api = make(TEAM, one_task.play)
    assert world.run("run", GOAL, "--budget", "0k").code == 4
    assert api.requests == []

    for words in (("--budget", "7tokens"), ()):
        ended = world.run("resume", "--json", *words)
        assert ended.code == 4, ended.err
        assert [line["budget"] for line in ended.lines if line["kind"] == "run.opened"] == ["7 tokens"]
        assert ended.lines == world.events()[-len(ended.lines) :], "the same lines, numbered over all sessions"
    assert api.requests == []


def test_a_plan_waiting_for_a_person_exits_5_and_continues_once_approved(make: MakeWorld) -> None:
    world, api = make(TEAM, one_task.play)
    ended = world.run("run", GOAL, "--approve", "plan")
    assert ended.code == 5, ended.out + ended.err
    assert not [request for request in api.requests if request.call.purpose == "implement"]
    assert "- [ ] **T1** Write a Markdown table" in (world.repository / "plan.md").read_text()
    ended = world.run("approve", "plan", "--resume")
    assert ended.out.startswith("plan: approved\ngreen: ")
    check_green(world, ended)


def test_the_first_ctrl_c_ends_waiting_for_a_server_that_is_down(make: MakeWorld) -> None:
    down = [True]

    def play(call: Call) -> Played:
        return HttpError(503) if call.purpose == "implement" and down[0] else one_task.play(call)

    world, _ = make(TEAM, play)
    process = world.start("run", GOAL)
    with process, ExitStack() as stack:
        stack.callback(process.kill)
        assert process.stderr is not None
        for line in process.stderr:
            if "asked again" in line:
                break
        began = time.monotonic()
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=60)
    assert process.returncode == 130, err
    assert time.monotonic() - began < 20, "minutes of retries were ahead"
    assert "interrupted by Ctrl-C; the model service does not answer" in err
    assert "the model service does not answer" in world.run("status").out
    down[0] = False
    check_green(world, world.run("resume"))


def _has_event(world: World, kind: str) -> bool:
    histories = list(world.state.glob("runs/*/events.jsonl"))
    return any(f'"kind":"{kind}"' in history.read_text() for history in histories)


def _is_running(world: World, name: str) -> bool:
    lines = (line for history in world.state.glob("runs/*/events.jsonl") for line in history.read_text().splitlines())
    return any('"kind":"command.running"' in line and name in line for line in lines)


def test_an_acceptance_command_is_visible_while_it_runs_and_is_ended(make: MakeWorld) -> None:
    def play(call: Call) -> Played:
        if call.purpose != "plan":
            return one_task.play(call)
        accept = [{"criterion": "it ends", "command": "tail -f /dev/null"}]
        return [message({**one_task.plan(), "tasks": [{**one_task.plan()["tasks"][0], "acceptance": accept}]})]  # type: ignore[index,dict-item]

    world, _ = make(f"{TEAM}[codexteam.limits]\ncommand_seconds = 16\nmax_attempts = 1\n", play)
    process = world.start("run", GOAL)
    with process, ExitStack() as stack:
        stack.callback(process.kill)
        # it runs on the base first, where it does not end either
        while process.poll() is None and not _is_running(world, "accept.T1.1"):
            time.sleep(0.05)
        shown = world.run("status").out
        _, err = process.communicate(timeout=120)
    assert "runs    `tail -f /dev/null` (accept.T1.1) for 0:1" in shown
    assert "`tail -f /dev/null` (accept.T1.1) runs for 10.0 s now; it is ended after 16.0 s" in err
    assert process.returncode == 3, err
    assert "timed out" in world.run("show", "T1").out


@contextmanager
def _silent(*, takes_connections: bool) -> Iterator[int]:
    """Yield the port of a server that never answers; with a full queue it does not even take a connection."""
    with ExitStack() as stack:
        server = stack.enter_context(socket.socket())
        server.bind(("127.0.0.1", 0))
        server.listen(0 if not takes_connections else 100)
        for _ in range(0 if takes_connections else 3):
            client = stack.enter_context(socket.socket())
            client.setblocking(False)
            client.connect_ex(server.getsockname())
        yield server.getsockname()[1]


@pytest.mark.parametrize("takes_connections", [False, True])
def test_the_first_ctrl_c_ends_a_first_call_that_hangs(make: MakeWorld, takes_connections: bool) -> None:
    world, api = make(TEAM, one_task.play)
    config = world.home / ".codex" / "config.toml"
    with _silent(takes_connections=takes_connections) as port, ExitStack() as stack:
        config.write_text(config.read_text().replace(api.base_url, f"http://127.0.0.1:{port}/v1"))
        process = stack.enter_context(world.start("run", GOAL))
        stack.callback(process.kill)
        while process.poll() is None and not _has_event(world, "agent.received"):
            time.sleep(0.05)
        process.send_signal(signal.SIGINT)
        began = time.monotonic()
        _, err = process.communicate(timeout=60)
    assert process.returncode == 130, err
    assert time.monotonic() - began < 25, "minutes of waiting were ahead"
    assert "interrupted by Ctrl-C; the model service does not answer" in err
    assert bool(rows(world, "SELECT 1 FROM call")) is takes_connections, "what was never sent costs nothing"


def test_a_plan_with_a_question_is_shown_with_its_cost_once_answered(make: MakeWorld) -> None:
    asked: list[str] = []

    def play(call: Call) -> Played:
        if call.purpose != "plan" or asked:
            return one_task.play(call)
        asked.append("once")
        return [message({**one_task.plan(), "questions": ["With a total?"]})]

    world, _ = make(TEAM, play)
    assert world.run("plan", GOAL).code == 5
    assert world.run("answer", "plan-questions", "yes").code == 0
    again = world.run("resume")
    assert again.code == 0, again.out + again.err
    assert "wave 1\n  T1 Write a Markdown table" in again.out
    assert "spent   $0.0" in again.out
    assert again.out.splitlines()[-2] == "next    codexteam resume"
    assert "next    codexteam resume  # works on the plan; edit plan.md first if you like\n" in world.run("status").out


def test_a_declined_plan_costs_nothing_until_its_user_says_what_to_do(make: MakeWorld) -> None:
    world, api = make(TEAM, one_task.play)
    assert world.run("plan", GOAL).code == 0
    asked = len(api.requests)
    declined = world.run("answer", "plan", "--no", "--resume")
    assert declined.code == 0, "what was declined is not continued"
    assert declined.out == "plan: declined. Edit plan.md and continue: codexteam resume; or leave it\n"

    again = world.run("resume")
    assert again.code == 5, again.out + again.err
    assert "waits   plan: This plan of 1 task was declined. Work on it after all?\n" in again.out
    assert "next    codexteam approve plan\n" in again.out
    assert world.run("resume").code == 5, "continuing is not an approval of what was declined"
    assert len(api.requests) == asked

    path = world.repository / "plan.md"
    path.write_text(path.read_text().replace("Write a Markdown table", "Write a table in Markdown"))
    check_green(world, world.run("approve", "--all", "--resume"))
    assert "**T1** Write a table in Markdown" in path.read_text()


def test_an_edit_of_a_declined_plan_is_what_resume_works_on(make: MakeWorld) -> None:
    world, _ = make(TEAM, one_task.play)
    assert world.run("plan", GOAL).code == 0
    assert world.run("answer", "plan", "--no").code == 0
    path = world.repository / "plan.md"
    path.write_text(path.read_text().replace("Write a Markdown table", "Write a table in Markdown"))
    check_green(world, world.run("resume"))


def test_gates_that_ask_for_the_base_at_once_share_one_check_of_it(make: MakeWorld) -> None:
    def play(call: Call) -> Played:
        if call.purpose != "qa":
            return one_task.play(call)
        if call.turn == 1:
            return [run("mkdir -p tests && printf 'tried\\n' > tests/qa.txt")]
        nothing: JSONObject = {"tests_changed": [], "commands": [], "findings": [], "risks": []}
        return [message({"summary": "As asked.", "confidence": "high", **nothing})]

    gates = 'enabled = ["ci_runner", "qa_test_author"]\ncommands = ["sleep 3"]\n'
    world, _ = make(f'[codexteam.sandbox]\nkind = "bubblewrap"\n[codexteam.gates]\n{gates}', play)
    ended = world.run("run", GOAL)
    assert ended.code == 0, ended.out + ended.err
    checked = [event["command"] for event in world.events() if event["kind"] == "baseline.checked"]
    assert checked.count("sleep 3") == 1
    assert world.git("show", f"{world.branch}:tests/qa.txt") == "tried\n"


def test_a_task_that_is_added_to_a_green_run_is_done_by_resume(make: MakeWorld) -> None:
    def play(call: Call) -> Played:
        if call.purpose == "implement" and call.task_id == "T2":
            return [run("printf 'more\\n' > MORE.md")] if call.turn == 1 else [report("There is more.")]
        return one_task.play(call)

    world, _ = make(TEAM, play)
    check_green(world, world.run("run", GOAL))
    path = world.repository / "plan.md"
    text = path.read_text()
    [line] = [line for line in text.splitlines() if line.startswith("- [x] **T1**")]
    path.write_text(text.replace(line, f"- [ ] **T2** Write more\n  - paths: `MORE.md`\n{line}"))

    ended = world.run("resume")

    assert ended.code == 0, ended.out + ended.err
    assert (
        tree_of(world, {**one_task.expected(), "MORE.md": "more\n"})
        == world.git("rev-parse", f"{world.branch}^{{tree}}").strip()
    )
    assert "- [x] **T2** Write more" in path.read_text()


def test_it_is_said_that_calls_are_asked_again_and_until_when(make: MakeWorld) -> None:
    resets = iter(range(2))

    def play(call: Call) -> Played:
        return Reset() if call.purpose == "plan" and next(resets, None) is not None else one_task.play(call)

    world, _ = make(TEAM, play)
    ended = world.run("run", GOAL)
    check_green(world, ended)
    [said] = [line for line in ended.err.splitlines() if "asked again" in line]
    assert "a call is asked again (try 2): " in said
    assert "; given up after 6 broken streams, 12 tries or 5 min without a connection" in said
    waiting = [event for event in world.events() if event["kind"] == "agent.waiting"]
    assert [event["tries"] for event in waiting] == [2, 3]


def test_a_full_disk_of_ours_stops_the_run_and_not_the_attempt(make: MakeWorld) -> None:
    def play(call: Call) -> Played:
        if (call.purpose, call.turn) == ("implement", 1) and not full:
            full.append(world.run_folder / "tasks" / "T1" / "1" / "turn-1.pack.part")
            full[0].parent.mkdir(parents=True, exist_ok=True)
            full[0].symlink_to("/dev/full")
        return one_task.play(call)

    full: list[Path] = []
    world, api = make(TEAM, play)
    ended = world.run("run", GOAL)
    assert ended.code == 6, ended.out + ended.err
    assert f"error: {full[0]}: No space left on device" in ended.err
    assert "codexteam resume" in ended.err
    assert not full[0].is_symlink()
    assert not {"agent.waiting", "task.attempt_failed"}.intersection(str(event["kind"]) for event in world.events())
    asked = len(api.requests)
    check_green(world, world.run("resume"))
    assert {request.call.attempt for request in api.requests if request.call.task_id == "T1"} == {1}
    assert [request.call.turn for request in api.requests[asked:] if request.call.purpose == "implement"] == [2]


@pytest.mark.docker
def test_a_green_run_stays_green_where_the_engine_does_not_let_it_clear_up(make: MakeWorld) -> None:
    with door() as engine:
        world, _ = make(TEAM.replace('"bubblewrap"', f'"docker"\nimage = "{SANDBOX_IMAGE}"'), one_task.play)
        engine.refuse = asks("GET .*/containers/json")  # what a sweep begins with
        ended = world.run("run", GOAL, DOCKER_HOST=engine.url)
        check_green(world, ended)
        assert ended.out.startswith("green: ")
        [said] = [line for line in ended.err.splitlines() if "may be left" in line]
        assert "refused by the test" in said
        assert "`codexteam clean` removes them" in said
        [run] = world.run("runs", "--json").lines[:-1]
        assert run["state"] == "green"
        engine.refuse = lambda _: False
        assert world.run("clean", "--all", DOCKER_HOST=engine.url).code == 0


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_run_that_is_interrupted_goes_on_where_it_was(make: MakeWorld, number: signal.Signals, code: int) -> None:
    world, api = make(TEAM, one_task.play)
    ended = world.run_until(25, number, "run", GOAL)
    assert ended.code == code, ended.out + ended.err
    assert (ended.lines[-1]["kind"], ended.lines[-1]["exit_code"]) == ("run.finished", code)
    assert processes_of(world) == []
    answered = {request.call.headers["idempotency-key"] for request in api.requests[:-1]}
    asked = len(api.requests)
    check_green(world, world.run("resume"))
    again = [request.call.headers["idempotency-key"] for request in api.requests[asked:]]
    assert len(answered.intersection(again)) <= 3, "only calls that were cut short are made again"


def test_a_second_run_at_once_is_refused_and_says_who_works(make: MakeWorld) -> None:
    opened = asyncio.Event()
    with ExitStack() as stack:

        async def hold(call: Call) -> Played:
            if call.purpose == "plan":
                await opened.wait()
            return one_task.play(call)

        world, _ = make(TEAM, cast("Callable[[Call], Played]", hold))
        first = world.start("run", GOAL, "--json")
        stack.callback(first.wait)
        stack.callback(first.kill)
        assert first.stdout is not None
        stack.enter_context(first.stdout)
        assert first.stderr is not None
        stack.enter_context(first.stderr)
        for line in first.stdout:
            event = cast("JSONObject", json.loads(line))
            if event["kind"] == "agent.started" and event["purpose"] == "plan":
                break
        second = world.run("run", GOAL)
        assert second.code == 6, second.out + second.err
        assert "another codexteam process works on this repository" in second.err
        assert str(first.pid) in second.err
        first.kill()
        first.wait()
    # the lock went with its owner
    opened.set()
    check_green(world, world.run("resume"))


def test_nothing_is_asked_in_a_folder_that_is_no_repository(make: MakeWorld) -> None:
    world, api = make(TEAM, one_task.play)
    ended = world.run("-C", str(world.home), "run", GOAL)
    assert (ended.code, ended.out) == (6, "")
    assert "not a git repository" in ended.err
    assert api.requests == []
    assert SAMPLE.is_dir()


def test_an_unlisted_model_stops_a_run_before_any_spend_or_write(
    make: MakeWorld,
) -> None:
    world, api = make(one_task.TEAM, one_task.play)
    api.models = {"object": "list", "data": [{"id": "gpt-5.5"}, {"id": "gpt-5.4-mini"}, {"id": "whisper-1"}]}

    for command in ("run", "plan"):
        ended = world.run(command, one_task.GOAL)
        assert ended.code == 6
        assert "lists no model `gpt-5.4`, which orchestrator, requirement_analyst, implem" in ended.err
        assert "implementer and 5 more ask for" in ended.err
        assert "nearest are gpt-5.5, gpt-5.4-mini" in ended.err
    assert api.requests == []
    assert not world.state.exists()

    api.models = {"data": [{"id": "gpt-5.4"}]}
    ended = world.run("plan", one_task.GOAL)
    assert ended.code == 0, ended.err
    asked = len(api.requests)
    ended = world.run("resume", "-m", "gpt-5.4-turbo")
    assert ended.code == 6
    assert "lists no model `gpt-5.4-turbo`" in ended.err
    assert len(api.requests) == asked


def test_a_profile_without_a_file_warns_and_is_an_error_when_strict(
    make: MakeWorld,
) -> None:
    world, api = make(one_task.TEAM, one_task.play)

    strict = world.run("run", "-p", "wrok", "--strict-config", one_task.GOAL)
    assert strict.code == 2
    assert "-p/--profile wrok: there is no " in strict.err
    assert api.requests == []
    ended = world.run("plan", "-p", "wrok", "--quiet", one_task.GOAL)
    assert ended.code == 0, ended.err
    assert ended.err.startswith("warning: -p/--profile wrok: there is no ")
