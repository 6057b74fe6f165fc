"""A repository nobody prepared: its dependencies are set up, and its own tests run. Whole runs, with real npm."""

import io
import json
import shutil
import tarfile
from collections.abc import Callable, Iterator
from datetime import datetime
from pathlib import Path

import pytest

from codexteam.core.ids import JSONObject
from tests.demo import script
from tests.demo.script import report, run, task
from tests.e2e.conftest import MakeWorld
from tests.e2e.test_baseline import _asked, _at_a_terminal
from tests.e2e.world import World
from tests.scripted_api import ScriptedApi
from tests.scripted_api.script import Call, Played, message

pytestmark = [
    pytest.mark.slow,
    pytest.mark.bubblewrap,
    pytest.mark.timeout(300),
    pytest.mark.skipif(shutil.which("npm", path="/usr/bin:/bin") is None, reason="npm is not installed"),
]

TEAM = (
    '[codexteam.sandbox]\nkind = "bubblewrap"\n{sandbox}[codexteam.limits]\nmax_scouts = 0\n'
    '[codexteam.gates]\nenabled = ["ci_runner"]\n'
)
GOAL = "Add shout.js, which greets in capitals, with a test of its own in test/shout.test.js."
TEST = 'const test = require("node:test");\nconst assert = require("node:assert");\n'
GREET_TEST = (
    f'{TEST}const {{ greet }} = require("greet");\n'
    'test("greets", () => assert.strictEqual(greet("you"), "hello you"));\n'
)
SHOUT = 'const { greet } = require("greet");\nexports.shout = (name) => greet(name).toUpperCase();\n'
SHOUT_TEST = (
    f'{TEST}const {{ shout }} = require("../shout");\n'
    'test("shouts", () => assert.strictEqual(shout("you"), "HELLO YOU"));\n'
)


def _plan(*paths: str, check: str) -> JSONObject:
    only = task("T1", "Greet in capitals", paths=list(paths), check="")
    acceptance: JSONObject = {"criterion": "its test passes", "command": check}
    return {
        "summary": "One module.",
        "tasks": [{**only, "acceptance": [acceptance]}],
        "later": [],
        "risks": [],
        "questions": [],
    }


def _written(**files: str) -> str:
    """A command that writes files; names have `__` for `/` and `_dot_` for a dot."""
    named = {name.replace("__", "/").replace("_dot_", "."): text for name, text in files.items()}
    return "\n".join(f"cat > {name} <<'END'\n{text}END" for name, text in named.items())


def _play(paths: tuple[str, ...], check: str, *commands: str) -> Callable[[Call], Played]:
    def play(call: Call) -> Played:
        match call.purpose:
            case "plan":
                return [message(_plan(*paths, check=check))]
            case "implement" if call.turn <= len(commands):
                return [run(commands[call.turn - 1])]
            case "implement":
                return [report("It greets in capitals.")]
            case _:
                return script.play(call)

    return play


SHOUTS = _play(
    ("shout.js", "test/shout.test.js"),
    "node --test test/shout.test.js",
    _written(shout_dot_js=SHOUT, test__shout_dot_test_dot_js=SHOUT_TEST),
)


#: Needs nothing that the repository has not.
PLAIN = _play(
    ("shout.js", "test/shout.test.js"),
    "node --test test/shout.test.js",
    _written(
        shout_dot_js="exports.shout = (name) => `HELLO ${name.toUpperCase()}`;\n",
        test__shout_dot_test_dot_js=SHOUT_TEST,
    ),
)


def _pack(path: Path, name: str, source: str) -> None:
    """Write an npm package of one module."""
    path.parent.mkdir(exist_ok=True)
    about = json.dumps({"name": name, "version": "1.0.0", "main": "index.js"})
    with tarfile.open(path, "w:gz") as archive:
        for file, text in (("package/package.json", about), ("package/index.js", source)):
            entry = tarfile.TarInfo(file)
            entry.size = len(text)
            archive.addfile(entry, io.BytesIO(text.encode()))


def _node(world: World, test: str = GREET_TEST) -> None:
    """Make the repository one of Node, whose tests need a package that is not there."""
    root = world.repository
    world.git("rm", "-rq", ".github")
    _pack(root / "vendor" / "greet-1.0.0.tgz", "greet", "exports.greet = (name) => `hello ${name}`;\n")
    about: JSONObject = {
        "name": "tally",
        "version": "1.0.0",
        "private": True,
        "scripts": {"test": "node --test"},
        "dependencies": {"greet": "file:vendor/greet-1.0.0.tgz"},
    }
    (root / "package.json").write_text(json.dumps(about))
    (root / ".gitignore").write_text("node_modules/\n")
    (root / "test").mkdir()
    (root / "test" / "greet.test.js").write_text(test)
    world.git("add", "package.json", ".gitignore", "vendor", "test")
    world.git("commit", "-qm", "greet", "--no-verify")


@pytest.fixture
def node(make: MakeWorld) -> Callable[..., tuple[World, ScriptedApi]]:
    """Makes a machine with such a repository."""

    def build(
        play: Callable[[Call], Played] = SHOUTS, *, sandbox: str = "", test: str = GREET_TEST
    ) -> tuple[World, ScriptedApi]:
        world, api = make(TEAM.format(sandbox=sandbox), play)
        _node(world, test)
        return world, api

    return build


Node = Callable[..., tuple[World, ScriptedApi]]


def _told(world: World, kind: str) -> list[JSONObject]:
    return [line for line in world.events() if line["kind"] == kind]


def test_a_repositorys_own_tests_run_with_what_they_need(node: Node) -> None:
    world, _ = node()
    before = world.git("status", "--porcelain", "--ignored")

    ended = world.run("run", GOAL)

    assert ended.code == 0, ended.out + ended.err
    assert "its tests run: npm test" in ended.err
    checked = {str(line["command"]): line for line in _told(world, "baseline.checked")}
    assert checked["npm test"]["ending"] == "passed"
    assert next(line["ending"] for line in _told(world, "gate.command")) == "passed"
    assert _receipt(world)["environment"] == _told(world, "environment.chosen")[0]["key"]
    after = world.git("status", "--porcelain", "--ignored").replace("?? plan.md\n", "")
    assert after == before, "nothing of it is in the user's checkout"
    assert "node_modules" not in world.git("ls-tree", "-r", "--name-only", world.branch)


def _chosen(runs: Path) -> JSONObject:
    lines = [json.loads(line) for path in runs.glob("*/events.jsonl") for line in path.read_text().splitlines()]
    chosen: JSONObject = next(line for line in lines if line["kind"] == "environment.chosen")
    return chosen


def _added_seconds(runs: Path) -> Iterator[float]:
    """How long after each run was prepared its environment was there, of those that found one."""
    for path in runs.glob("*/events.jsonl"):
        first: dict[str, JSONObject] = {}
        for line in path.read_text().splitlines():
            first.setdefault(json.loads(line)["kind"], json.loads(line))
        ready, prepared = first["environment.ready"], first["run.prepared"]
        if ready["kept"]:
            at = [datetime.fromisoformat(str(line["at"])) for line in (prepared, ready)]
            yield (at[1] - at[0]).total_seconds()


def _receipt(world: World) -> JSONObject:
    receipt = _told(world, "agent.received")[-1]["receipt"]
    assert isinstance(receipt, dict)
    return receipt


def test_a_second_run_finds_what_the_first_has_set_up(node: Node) -> None:
    world, _ = node()
    assert world.run("run", GOAL).code == 0
    (world.repository / "plan.md").unlink()

    again = world.run("run", GOAL)

    assert again.code == 0, again.out + again.err
    assert "environment: was there already" in again.err
    assert "environment: step" not in again.err
    (added_seconds,) = _added_seconds(world.state / "runs")
    print(f"the environment was found {added_seconds:.2f} s after the run was prepared")
    assert added_seconds < 15, "a second on an idle machine"
    key = str(_chosen(world.state / "runs")["key"])
    assert key in world.run("clean", "--all").out
    assert not [path for path in world.home.rglob(key) if path.is_dir()]


def test_a_task_that_changes_a_manifest_is_judged_with_what_it_wants(node: Node) -> None:
    pack = "mkdir -p /tmp/loud && cd /tmp/loud && " + _written(
        package_dot_json='{"name": "loud", "version": "1.0.0", "main": "index.js"}\n',
        index_dot_js="exports.loud = (text) => text.toUpperCase();\n",
    )
    play = _play(
        ("shout.js", "test/**", "package.json", "vendor/**"),
        "node --test test/shout.test.js",
        f"{pack}\nnpm pack --silent --pack-destination /work/vendor",
        "npm pkg set dependencies.loud=file:vendor/loud-1.0.0.tgz",
        _written(
            shout_dot_js='exports.shout = require("loud").loud;\n',
            test__shout_dot_test_dot_js=SHOUT_TEST.replace("HELLO YOU", "YOU"),
        ),
    )
    world, _ = node(play)

    ended = world.run("run", GOAL)

    assert ended.code == 0, ended.out + ended.err
    assert len(_told(world, "environment.building")) == 2


NEEDS_MORE = f'{TEST}require("a-package-that-nobody-names");\ntest("never", () => assert.ok(true));\n'


def test_tests_that_cannot_run_cost_no_implementer(node: Node) -> None:
    world, api = node(test=NEEDS_MORE)

    ended = world.run("run", GOAL)

    assert ended.code == 6, ended.out + ended.err
    assert _asked(api, "implement") == 0
    assert "npm test" in ended.out
    assert "set up from" in ended.out


def test_somebody_at_a_terminal_is_asked_about_tests_that_cannot_run(node: Node) -> None:
    world, api = node(test=NEEDS_MORE)

    code, said = _at_a_terminal(world, "run", GOAL)

    assert code == 5, said
    assert _asked(api, "implement") == 0
    assert "codexteam answer baseline again" in said


@pytest.mark.parametrize(
    ("line", "limit", "words"),
    [
        ("sleep 600", "setup_seconds = 4.0\n", "did not end within the 4 s"),
        ("yes", "setup_seconds = 60.0\n", "more than a set-up may"),
        ("no-such-program", "", "no-such-program"),
    ],
)
def test_a_setup_script_that_runs_wild_ends_in_one_error(node: Node, line: str, limit: str, words: str) -> None:
    world, api = node(sandbox=f'setup = "setup.sh"\n{limit}')
    (world.repository / "setup.sh").write_text(f"{line}\n")
    world.git("add", "setup.sh")
    world.git("commit", "-qm", "setup", "--no-verify")

    ended = world.run("run", GOAL)

    assert ended.code == 6, ended.out + ended.err
    assert _asked(api, "implement") == 0
    assert words in ended.err
    assert "environment/" in ended.err, "the log is named"
    assert not [path.name for path in (world.home / ".cache").rglob(".new-*")]


def test_tracked_files_that_a_set_up_changes_are_named_and_not_kept(node: Node) -> None:
    world, _ = node(sandbox='setup = "setup.sh"\n')
    (world.repository / "setup.sh").write_text("npm install --no-package-lock\necho changed >> README.md\n")
    world.git("add", "setup.sh")
    world.git("commit", "-qm", "setup", "--no-verify")

    ended = world.run("run", GOAL)

    assert ended.code == 0, ended.out + ended.err
    assert "changed tracked files, which is not kept: README.md" in ended.err
    assert "changed" not in world.git("show", f"{world.branch}:README.md")


NAMED_NOWHERE = (
    'mkdir -p node_modules/a-package-that-nobody-names\necho "" > node_modules/a-package-that-nobody-names/index.js\n'
)


def test_a_script_of_an_agents_counts_because_the_tests_run_after_it(node: Node) -> None:
    def play(call: Call) -> Played:
        if call.purpose != "setup":
            return PLAIN(call)
        if call.turn == 1:
            return [run(f"{NAMED_NOWHERE}npm test")]
        return [message({"summary": "It was missing.", "script": NAMED_NOWHERE, "test_command": "npm test"})]

    world, api = node(play, test=NEEDS_MORE)

    ended = world.run("run", GOAL)

    assert ended.code == 0, ended.out + ended.err
    assert _asked(api, "setup") == 2
    assert "to keep it, commit" in ended.err
    assert (world.run_folder / "environment" / "setup.sh").read_text() == NAMED_NOWHERE
