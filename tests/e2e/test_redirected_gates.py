"""An agent breaks the program and has the gates look away: whole runs, with real sandboxes."""

import json
from collections.abc import Callable, Sequence

import pytest

from codexteam.core.ids import JSONObject
from tests.demo import edits
from tests.demo.script import patch, report, run, task
from tests.e2e import one_task
from tests.e2e.conftest import MakeWorld
from tests.e2e.one_task import GOAL
from tests.e2e.world import World
from tests.scripted_api.script import Call, Played, message

pytestmark = [pytest.mark.complete, pytest.mark.bubblewrap, pytest.mark.timeout(300)]

TEAM = (
    '[codexteam.sandbox]\nkind = "bubblewrap"\n[codexteam.limits]\nmax_rounds = 1\nmax_attempts = 1\n'
    '[codexteam.gates]\nenabled = ["ci_runner", "reviewer", "security_reviewer"]\nflaky_reruns = 0\nuntested = "allow"\n'
)
MAKE = 'commands = ["make test"]\n'
BREAK = "sed -i 's/return/return 1 or/' tally/money.py"
EXIT = "import os\\nos._exit(0)\\n"


def _play(command: str, paths: Sequence[str] = ()) -> Callable[[Call], Played]:
    def play(call: Call) -> Played:
        match call.purpose:
            case "plan":
                only = task("T1", "Write a Markdown table", paths=list(paths), check="tests.test_markdown")
                more: JSONObject = {"later": [], "risks": [], "questions": []}
                return [message({"summary": "One module.", "tasks": [only | {"acceptance": []}], **more})]
            case "implement" if call.turn == 1 and call.task_id == "T1":
                return [patch(call, edits.add(tally__markdown=edits.MARKDOWN)), run(command)]
            case "implement":
                return [report("Done.")]
            case "document":
                return [report("There is nothing to write.")]
            case "review" | "security":
                return [message({"verdict": "ship", "summary": "good", "findings": [], "risks": []})]
            case _:
                return one_task.play(call)

    return play


def _must_fix(world: World) -> dict[str | None, str]:
    status = json.loads(world.run("status", "--json").out.splitlines()[0])
    return {found["file"]: found["title"] for found in status["findings"] if found["severity"] == "must_fix"}


@pytest.mark.parametrize(
    ("file", "attack"),
    [
        pytest.param("tests/__init__.py", f"printf '{EXIT}' > tests/__init__.py", id="the package of the tests"),
        pytest.param("unittest.py", f"printf '{EXIT}' > unittest.py", id="in place of the runner"),
        pytest.param("tests/test_a.py", f"printf '{EXIT}' > tests/test_a.py", id="a test that ends the runner"),
        pytest.param("GNUmakefile", "printf 'test:\\n\\t@echo ok\\n' > GNUmakefile", id="another makefile"),
        pytest.param(
            "GNUmakefile", "printf 'test:\\n\\t@echo ok\\n' > rules; ln -s rules GNUmakefile", id="a link to one"
        ),
    ],
)
def test_an_agent_that_redirects_the_gates_is_found(make: MakeWorld, file: str, attack: str) -> None:
    world, _ = make(TEAM + (MAKE if file == "GNUmakefile" else ""), _play(f"{BREAK}; {attack}"))
    (world.repository / "Makefile").write_text("test:\n\tpython3 -m unittest discover -q -s tests -t .\n")
    world.git("add", "Makefile")
    world.git("commit", "-qm", "make")

    ended = world.run("run", GOAL)

    assert ended.code == 5, ended.out + ended.err
    found = _must_fix(world)
    assert file in found
    assert any("fails" in title or "passes without tests" in title for title in found.values()), found


def test_a_gate_file_that_the_plan_names_counts_and_both_reviewers_see_it(make: MakeWorld) -> None:
    hello = "sed -i 's/^test:/test:\\n\\t@echo hello/' Makefile"
    world, api = make(TEAM + MAKE, _play(hello, ["Makefile", "tally/markdown.py"]))
    (world.repository / "Makefile").write_text("test:\n\tpython3 -m unittest discover -q -s tests -t .\n")
    world.git("add", "Makefile")
    world.git("commit", "-qm", "make")

    ended = world.run("run", GOAL)

    assert ended.code == 0, ended.out + ended.err
    for purpose in ("review", "security"):
        [asked] = [str(request.call.body) for request in api.requests if request.call.purpose == purpose]
        assert "+\\\\t@echo hello" in asked or "@echo hello" in asked
        assert "Makefile was changed, as a task asks" in asked or "Makefile, which decides what the gates do" in asked


def test_a_run_that_changes_nothing_is_judged_with_the_output_of_the_gates(make: MakeWorld) -> None:
    commands = 'commands = ["python3 -m unittest discover -q -s tests -t .", "false"]\n'

    def play(call: Call) -> Played:
        return [report("There is nothing to do.")] if call.purpose == "implement" else _play("true")(call)

    world, api = make(TEAM + commands, play)

    ended = world.run("run", GOAL)

    assert ended.code == 0, ended.out + ended.err
    [asked] = [str(request.call.body) for request in api.requests if request.call.purpose == "review"]
    assert "no file differs" in asked
    assert "Ran " in asked
    assert "green: nothing was changed" in ended.out
    shown = (ended.out, world.run("status").out, (world.repository / "plan.md").read_text(encoding="utf-8"))
    assert all("`false`" in text and "as before the run" in text for text in shown)


def test_a_run_that_changes_nothing_and_that_nobody_judges_is_not_green(make: MakeWorld) -> None:
    def play(call: Call) -> Played:
        return [report("There is nothing to do.")] if call.purpose == "implement" else _play("true")(call)

    world, _ = make(one_task.TEAM, play)

    ended = world.run("run", GOAL)

    assert ended.code == 3, ended.out + ended.err
    assert "no reviewer judged" in ended.out


def test_a_plan_naming_guarded_paths_waits_and_is_reviewed_for_security(make: MakeWorld) -> None:
    paths = [".codex/config.toml", ".mcp.json", "AGENTS.md", ".github/workflows/ci.yml"]
    write = "; ".join(f"mkdir -p $(dirname {path}); echo '# more' >> {path}" for path in paths)
    world, api = make(TEAM, _play(write, [*paths, "tally/markdown.py"]))

    waits = world.run("run", GOAL)
    assert waits.code == 5, waits.out + waits.err
    assert "guarded.T1" in waits.out
    assert [path for path in paths if path not in waits.out] == []
    assert not [request for request in api.requests if request.call.purpose == "implement"]

    assert world.run("approve", "guarded.T1").code == 0
    ended = world.run("resume")
    assert ended.code == 0, ended.out + ended.err
    assert set(paths) <= set(world.git("diff", "--name-only", "HEAD", world.branch).split())
    [asked] = [str(request.call.body) for request in api.requests if request.call.purpose == "security"]
    assert [path for path in paths if f"{path}, which is guarded" not in asked] == []


def test_what_the_user_allows_on_the_command_line_is_not_asked_for(make: MakeWorld) -> None:
    world, _ = make(TEAM, _play("echo '{}' > .mcp.json", [".mcp.json", "tally/markdown.py"]))

    ended = world.run("run", GOAL, "--allow-guarded", ".mcp.json")

    assert ended.code == 0, ended.out + ended.err
