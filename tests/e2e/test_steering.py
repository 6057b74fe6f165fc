"""A run that is steered from another terminal, at work and at rest: messages, tasks more and less, other models."""

import signal
import threading
from contextlib import ExitStack

import pytest

from codexteam.core.ids import JSONObject
from tests.contract.test_sandbox import SANDBOX_IMAGE
from tests.demo.script import report, run
from tests.e2e import one_task
from tests.e2e.conftest import MakeWorld
from tests.e2e.one_task import GOAL, TEAM
from tests.e2e.terminal import Terminal, until_told
from tests.e2e.world import processes_of
from tests.scripted_api.script import Call, Played, message

pytestmark = [pytest.mark.complete, pytest.mark.timeout(600)]

_DOCKER = TEAM.replace('"bubblewrap"', f'"docker"\nimage = "{SANDBOX_IMAGE}"')

_NOTHING: JSONObject = {"status": "blocked", "commands": [], "question": None, "later": [], "risks": []}
_MORE = ("add", "Write more", "--path", "MORE.md", "--accept", "test -f MORE.md")


def _more(call: Call) -> Played:
    return [run("printf 'more\\n' > MORE.md")] if call.turn == 1 else [report("There is more.")]


def _heard(call: Call, text: str) -> int:
    return str(call.input).count(text)


@pytest.mark.bubblewrap
def test_an_agent_at_work_hears_its_user_and_the_plan_grows_meanwhile(make: MakeWorld) -> None:
    calls: list[Call] = []

    def play(call: Call) -> Played:
        calls.append(call)
        if call.purpose != "implement":
            return one_task.play(call)
        if call.task_id == "T2":
            return _more(call)
        if call.turn > 1 and not (_heard(call, "keep it short") and any(each.task_id == "T2" for each in calls)):
            return [run(f"sleep 0.2; echo {call.turn}")]
        if call.turn == 1:
            return one_task.play(call)
        return [report("There is a table.")]

    world, _ = make(TEAM, play)
    process = world.start("run", GOAL)
    with process, ExitStack() as stack:
        stack.callback(process.kill)
        until_told(world, '"kind":"agent.turn"', '"task":"T1"')
        with Terminal(world, "shell", "T1") as shell:
            shell.wait_for("`exit` leaves it")
            until_told(world, "you have a shell open")
            shell.answer("$", "cat tally/markdown.py; rm -r tally")
            shell.wait_for("def ")
            shell.answer("$", "exit 3")
            _, left = shell.end()
        said = world.run("say", "T1", "keep it short")
        added = world.run(*_MORE)
        refused = world.run("drop", "T9")
        out, err = process.communicate(timeout=120)

    assert left == 3
    reads = "T1's agent reads it before its next turn (if it has had its last, the log says so)"
    assert (said.code, said.out) == (0, f"T1: sent; {reads}\n")
    assert (added.code, added.out) == (0, "T2: added: Write more\n")
    assert refused.code == 2
    assert "has no task 'T9'; there are T1, T2" in refused.err
    assert process.returncode == 0, out + err
    assert max(_heard(call, "keep it short") for call in calls) == 1, "it is said once"
    assert world.git("show", f"{world.branch}:MORE.md") == "more\n"
    assert "- [x] **T2** Write more" in (world.repository / "plan.md").read_text()
    kinds = [event["kind"] for event in world.events()]
    assert kinds.count("person.said") == 1
    assert processes_of(world) == []


@pytest.mark.bubblewrap
def test_a_run_at_rest_keeps_what_is_asked_of_it_until_it_continues(make: MakeWorld) -> None:
    asked: list[Call] = []

    def play(call: Call) -> Played:
        if call.purpose != "implement":
            return one_task.play(call)
        asked.append(call)
        if call.task_id == "T2":
            return _more(call)
        if call.attempt == 1:
            return [message({**_NOTHING, "summary": "I cannot do it."})]
        return one_task.play(call)

    world, _ = make(f"{TEAM}[codexteam.limits]\nmax_attempts = 1\n", play)
    assert world.run("run", "--budget", "9m", GOAL).code == 3

    assert "its next attempt begins with it" in world.run("say", "T1", "as a Markdown table").out
    assert world.run(*_MORE, "--first").out.startswith("T2: added: Write more. Continue: codexteam resume")
    assert world.run("priority", "T2", "normal").out.startswith("T2: priority 0")
    assert "may use 10,000,000 tokens in all" in world.run("budget", "+1m").out
    dropped = world.run("drop", "T1", "--json")
    ended = world.run("retry", "T1", "--model", "gpt-other", "--effort", "high", "--resume")

    assert dropped.code == 0, dropped.err
    assert dropped.lines[-1]["fate"] == "stored"
    assert ended.code == 0, ended.out + ended.err
    assert "T1: is tried again, with gpt-other and effort high, from the work that there is" in ended.out
    [second] = [call for call in asked if call.task_id == "T1" and call.attempt == 2 and call.turn == 1]
    assert second.body["model"] == "gpt-other"
    assert second.body["reasoning"]["effort"] == "high"  # type: ignore[index,call-overload]
    assert _heard(second, "The user says: as a Markdown table") == 1
    assert world.git("show", f"{world.branch}:MORE.md") == "more\n"
    plan = (world.repository / "plan.md").read_text()
    assert "- [x] **T1**" in plan
    assert "- [x] **T2**" in plan
    assert "Codexteam-Model: gpt-other" in world.git("log", "--format=%B", world.branch)


@pytest.mark.bubblewrap
def test_a_plan_is_talked_about_until_it_is_approved(make: MakeWorld) -> None:
    plans: list[Call] = []

    def play(call: Call) -> Played:
        if call.purpose != "plan":
            return one_task.play(call)
        plans.append(call)
        if len(plans) == 1:
            return [message({**one_task.plan(), "tasks": [], "questions": ["Which style?"]})]
        return [message(one_task.plan())]

    world, _ = make(TEAM, play)
    editor = "sed -i s/'Write a Markdown'/'Write one Markdown'/"
    with Terminal(world, "plan", "-i", GOAL, EDITOR=editor) as terminal:
        terminal.answer("your answer", "like GitHub")
        terminal.answer("[a]pprove", "in one module")
        terminal.answer("[a]pprove", "e")
        terminal.wait_for("T1 changed (title)")
        terminal.answer("[a]pprove", "a")
        shown, code = terminal.end()

    assert code == 0, shown
    assert "approved. Work on it: codexteam resume" in shown
    assert _heard(plans[1], "1. Which style? like GitHub") == 1
    assert _heard(plans[2], "in one module") == 1
    assert "Write one Markdown table" in (world.repository / "plan.md").read_text()
    assert "plan" not in world.run("inbox").out
    assert world.run("plan", "-i", GOAL).err.startswith("error: plan -i needs a terminal")


@pytest.mark.docker
def test_a_shell_in_a_container_shows_what_the_agent_has_written(make: MakeWorld) -> None:
    may_end = threading.Event()

    def play(call: Call) -> Played:
        if call.purpose == "implement" and call.turn > 1 and not may_end.is_set():
            return [run(f"sleep 0.2; echo {call.turn}")]
        return one_task.play(call)

    world, _ = make(_DOCKER, play)
    process = world.start("run", GOAL)
    with process, ExitStack() as stack:
        stack.callback(process.kill)
        until_told(world, '"kind":"agent.turn"', '"task":"T1"')
        for _ in range(2):  # nothing of the first one is left in the second
            with Terminal(world, "shell", "T1") as shell:
                shell.wait_for("`exit` leaves it")
                shell.answer("$", "cat tally/markdown.py; rm -r tally; id -u")
                shell.wait_for("def ")
                shell.answer("$", "exit 4")
                _, left = shell.end()
            assert left == 4
        may_end.set()
        out, err = process.communicate(timeout=300)

    assert process.returncode == 0, out + err
    with Terminal(world, "shell", "T1") as shell:  # its work is merged by now
        shell.answer("$", "ls tests/test_markdown.py")
        shell.answer("tests/test_markdown.py", "exit")
        shown, left = shell.end()
    assert left == 0, shown


@pytest.mark.bubblewrap
def test_one_agent_is_stopped_from_the_live_view_and_the_run_goes_on(make: MakeWorld) -> None:
    def play(call: Call) -> Played:
        if call.purpose == "implement" and call.attempt == 1 and call.turn > 1:
            return [run(f"sleep 0.2; echo {call.turn}")]
        return one_task.play(call)

    world, _ = make(TEAM, play)
    process = world.start("run", GOAL)
    with process, ExitStack() as stack:
        stack.callback(process.kill)
        until_told(world, '"kind":"agent.turn"', '"task":"T1"')
        with Terminal(world, "watch", world.run_folder.name, TERM="xterm") as view:
            view.wait_for("implementer T1.1")
            view.press("x")
            view.wait_for("a implementer T1.1")
            view.press("a")
            until_told(world, '"kind":"agent.finished"', '"outcome":"Stopped"', '"agent":"implementer T1.1"')
            until_told(world, '"kind":"agent.started"', '"agent":"implementer T1.2"')
            view.press("q")
            _, left = view.end()
        out, err = process.communicate(timeout=120)

    assert left == 0
    assert process.returncode == 0, out + err
    finished = [event for event in world.events() if event["kind"] == "task.attempt_failed"]
    assert [event["reason"] for event in finished] == ["a person stopped its agent"]
    assert "def " in world.git("show", f"{world.branch}:tally/markdown.py")
    assert processes_of(world) == []


@pytest.mark.bubblewrap
def test_requests_count_once_when_the_run_is_killed_as_it_takes_them(make: MakeWorld) -> None:
    calls: list[Call] = []

    def play(call: Call) -> Played:
        calls.append(call)
        if call.purpose != "implement":
            return one_task.play(call)
        if call.task_id == "T2":
            return _more(call)
        if call.turn > 1 and not (_heard(call, "keep it short") and any(each.task_id == "T2" for each in calls)):
            return [run(f"sleep 0.2; echo {call.turn}")]
        return one_task.play(call) if call.turn == 1 else [report("There is a table.")]

    world, _ = make(TEAM, play)
    with world.start("run", GOAL, CODEXTEAM_FAULT_POINT="request.take.before#1") as first, ExitStack() as stack:
        stack.callback(first.kill)
        until_told(world, '"kind":"agent.turn"', '"task":"T1"')
        said = world.run("say", "T1", "keep it short")
        first.communicate(timeout=120)
    with world.start("resume", CODEXTEAM_FAULT_POINT="request.take.after#1") as second, ExitStack() as stack:
        stack.callback(second.kill)
        until_told(world, '"kind":"agent.started"', '"task":"T1"', times=2)
        added = world.run(*_MORE)
        second.communicate(timeout=120)
    ended = world.run("resume")

    assert (first.returncode, second.returncode) == (-signal.SIGKILL, -signal.SIGKILL)
    assert (said.code, added.code) == (0, 0), said.err + added.err
    assert ended.code == 0, ended.out + ended.err
    assert max(_heard(call, "keep it short") for call in calls) == 1, "it is said once"
    told = [event for event in world.events() if event["kind"] in {"person.said", "task.added"}]
    assert [event.get("task", event.get("to")) for event in told] == ["T1", "T1", "T2"]
    assert world.git("show", f"{world.branch}:MORE.md") == "more\n"
    assert processes_of(world) == []
