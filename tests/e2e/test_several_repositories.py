"""`run --repo` through the real command: an interface and who uses it are changed together, or not at all."""

import json
import subprocess
from pathlib import Path

import pytest

from codexteam.core.ids import JSONObject
from tests.demo import script
from tests.demo.script import patch, report
from tests.e2e.conftest import MakeWorld
from tests.e2e.terminal import Terminal
from tests.e2e.world import World
from tests.scripted_api.script import Call, Played, message
from tests.support_github import TOKEN, GitHub, Refusal, serve_github

pytestmark = [pytest.mark.slow, pytest.mark.bubblewrap]

GOAL = "Prices name their currency, and the shop shows it with each label that it prints on the page for its users."
#: The user's own check of both trees together.
SYSTEM = "python3 -c 'import sys; sys.path.insert(0, \"/repos/web\"); import shop; print(shop.label(1))'"
TEAM = (
    '[codexteam.steps]\nscouts = "off"\nrelease = "off"\ndocumentation = "off"\n'
    '[codexteam.sandbox]\nkind = "bubblewrap"\n'
    '[codexteam.gates]\nenabled = ["ci_runner"]\n'
    f"system = [{json.dumps(SYSTEM)}]\n"
)
TEST = "python3 -m unittest discover -q -s tests -t ."
CI = f"on: [push]\njobs:\n  test:\n    runs-on: ubuntu-latest\n    steps:\n      - run: {TEST}\n"
#: A test of the shop reads the other repository where it lies beside its own.
FILES = {
    "api": {
        "prices.py": "def price(name):\n    return 5\n",
        "tests/test_prices.py": "import unittest\nfrom prices import price\n\n\nclass Prices(unittest.TestCase):\n"
        "    def test_price(self):\n        self.assertTrue(price('x'))\n",
    },
    "web": {
        "shop.py": "import sys\nfrom pathlib import Path\n\nsys.path.insert(0, str(Path(__file__).parents[1] / 'api'))\n"
        "from prices import price\n\n\ndef label(name):\n    return f'{name} {price(name) + 0}'\n",
        "tests/test_shop.py": "import unittest\nfrom shop import label\n\n\nclass Shop(unittest.TestCase):\n"
        "    def test_label(self):\n        self.assertTrue(label('x').startswith('x 5'))\n",
    },
}
INTERFACE = "*** Begin Patch\n*** Update File: api/prices.py\n@@\n-    return 5\n+    return 5, 'EUR'\n*** End Patch"
USE = (
    "*** Begin Patch\n*** Update File: web/shop.py\n@@\n-    return f'{name} {price(name) + 0}'\n"
    "+    amount, currency = price(name)\n+    return f'{name} {amount} {currency}'\n*** End Patch"
)
NOTHING_RIGHT = "*** Begin Patch\n*** Add File: web/notes.py\n+NOTES = 1\n*** End Patch"


def planned(name: str, folder: str, *deps: str) -> JSONObject:
    """One task in one repository."""
    check = f"cd {folder} && {TEST}"
    return {
        **script.task(name, f"Change {folder}", paths=[f"{folder}/"], check="", deps=deps),
        "acceptance": [{"criterion": "its tests pass", "command": check}],
    }


def play(call: Call, *, use: str = USE) -> Played:
    """Plan the interface first, and change both."""
    match call.purpose:
        case "plan":
            tasks: JSONObject = {"tasks": [planned("T1", "api"), planned("T2", "web", "T1")]}
            return [message({"summary": "", "later": [], "risks": [], "questions": [], **tasks})]
        case "replan":
            fix: JSONObject = {"summary": "", "later": [], "risks": [], "questions": []}
            return [message({**fix, "tasks": [{**planned("T100", "web"), "fixes": ["F1"]}]})]
        case "implement" if call.turn == 1 and call.task_id == "T100":
            return [script.run("echo '# A label has a price.' >> web/shop.py")]
        case "implement" if call.turn == 1:
            return [patch(call, INTERFACE if call.task_id == "T1" else use)]
        case "implement":
            return [report("It is done.")]
        case _:
            return script.play(call)


def failing(call: Call) -> Played:
    """Leave out what the second repository needs."""
    return play(call, use=NOTHING_RIGHT)


def two_repositories(world: World) -> tuple[str, ...]:
    """Make both beside the world's own; return the flags that name them."""
    for name, files in FILES.items():
        for path, text in {**files, "tests/__init__.py": "", ".github/workflows/ci.yml": CI}.items():
            file = world.folder / name / path
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(text)
        for words in (["init", "-q", "-b", "main"], ["add", "."], ["commit", "-qm", "first"]):
            git(world, name, *words)
    api, web = world.folder / "api", world.folder / "web"
    return "-C", str(api), "--repo", f"api={api}", "--repo", f"web={web}"


def git(world: World, name: str, *words: str) -> str:
    """Run git in one of them."""
    done = subprocess.run(
        ["git", *words], cwd=world.folder / name, env=world.environment(), check=True, capture_output=True, text=True
    )
    return done.stdout


def landed(world: World) -> dict[str, str]:
    """The changed file of each repository on its run's branch; those without one are missing."""
    found = {}
    for name, file in (("api", "prices.py"), ("web", "shop.py")):
        branch = git(world, name, "branch", "--list", "--format=%(refname:short)", "codexteam/*").strip()
        if branch:
            found[name] = git(world, name, "show", f"{branch}:{file}")
    return found


def proposed_in_both(world: World, hub: GitHub) -> None:
    """Open the pull requests, of which the second is refused once; see that each names the other."""
    hub.name, hub.beside["web"] = "api", GitHub(name="web")
    where = ("-C", str(world.folder / "api"))
    access = {"GITHUB_TOKEN": TOKEN, "GITHUB_SERVER_URL": "https://github.example", "GITHUB_API_URL": hub.url}
    with_remote(world, "api")
    nowhere = world.run("pr", *where, **access)
    assert (nowhere.code, hub.pulls) == (7, [])
    assert "web: there is no remote 'origin'" in nowhere.err
    assert "nothing was pushed" in nowhere.err
    with_remote(world, "web")
    refused: Refusal = (422, {"message": "Validation Failed"}, {})
    posts = iter([None, refused])
    hub.refuse = lambda method, *_: next(posts, None) if method == "POST" else None
    half = world.run("pr", *where, **access)
    assert half.code == 7
    assert "1 of 2 pull requests are open: api (https://github.example/acme/api/pull/7)" in half.err

    done = world.run("pr", "--json", *where, **access)

    assert done.code == 0, done.err
    lines = [json.loads(line) for line in done.out.splitlines()]
    assert [(line["repository"], line["created"]) for line in lines] == [("api", False), ("web", True)]
    [api], [web] = hub.pulls, hub.beside["web"].pulls
    assert "1. `api`: this pull request\n2. `web`: https://github.example/acme/web/pull/7" in str(api["body"])
    assert "1. `api`: https://github.example/acme/api/pull/7\n2. `web`: this pull request" in str(web["body"])
    assert str(world.folder) not in str(web["body"])
    assert "| ci_runner | ship | all repositories together |" in str(web["body"])
    assert f"\n(cd web && {TEST})\n" in str(web["body"])
    asked = len(hub.asked)
    assert world.run("pr", *where, **access).code == 0
    assert {method for method, _ in hub.asked[asked:]} == {"GET"}  # all is as it should be


def asked_in_one(world: World, hub: GitHub) -> None:
    """Ask for something in the second pull request; see that it is done, pushed and answered there."""
    where = ("-C", str(world.folder / "api"))
    access = {"GITHUB_TOKEN": TOKEN, "GITHUB_SERVER_URL": "https://github.example", "GITHUB_API_URL": hub.url}
    other = hub.beside["web"]
    hub.remote, other.remote = world.folder / "api.git", world.folder / "web.git"
    branch = str(other.pulls[0]["head"]["ref"])  # type: ignore[index,call-overload]
    before = {one.name: one.head(branch) for one in (hub, other)}
    other.comment("PRRT_W", "alice", "Say what a label is.", path="shop.py")

    look = world.run("pr", "sync", "--dry-run", *where, **access)
    assert (look.code, "Say what a label is. (web/shop.py:1)" in look.out) == (0, True), look.err
    done = world.run("pr", "sync", "--json", *where, **access)

    line = done.lines[-1]
    assert (done.code, line["answered"], line["resolved"]) == (0, ["F1"], ["F1"]), done.err
    after = {one.name: one.head(branch) for one in (hub, other)}
    assert (after["api"], after["web"] != before["web"]) == (before["api"], True)
    [reply] = other.said("PRRT_W")
    assert f"Done in {after['web']} (T100" in reply
    assert "Passed on the merged trees of all repositories:" in reply
    assert "nothing to do" in world.run("pr", "sync", *where, **access).err


def with_remote(world: World, name: str) -> None:
    """Give one of them a remote on a server that its user reaches by ssh."""
    remote, ssh = world.folder / f"{name}.git", world.folder / f"{name}.sh"
    subprocess.run(["git", "init", "-q", "--bare", str(remote)], check=True)
    ssh.write_text(f'#!/bin/sh\nfor last; do :; done\ncd {remote} && exec "${{last%% *}}" .\n')
    ssh.chmod(0o755)
    git(world, name, "remote", "add", "origin", f"git@github.example:acme/{name}.git")
    git(world, name, "config", "core.sshCommand", str(ssh))
    git(world, name, "push", "-q", "origin", "main")


@pytest.mark.timeout(600)  # fourteen commands, one after the other
def test_a_run_that_died_between_two_branches_writes_the_second(make: MakeWorld) -> None:
    world, _ = make(TEAM, play)

    killed = world.run("run", *two_repositories(world), GOAL, CODEXTEAM_FAULT_POINT="landing.member.after#1")
    assert killed.code == -9, killed.err
    assert [*landed(world)] == ["api"]
    home = str(world.folder / "api")
    left = world.folder / "left"
    resumed = world.run("resume", "-C", home, "--ci", "--budget", "500k", "--artifacts", str(left))

    assert resumed.code == 0, resumed.err
    assert f"ran     `{SYSTEM}` passed" in resumed.out
    assert f"ran     `cd web && {TEST}` passed" in resumed.out
    assert " in api, web" in resumed.out
    handed = json.loads((left / "pull-request.json").read_text())["repositories"]
    assert [(each["name"], (left / f"branch.{each['name']}.bundle").is_file()) for each in handed] == [
        ("api", True),
        ("web", True),
    ]
    both = landed(world)
    assert "5, 'EUR'" in both["api"]
    assert "amount, currency" in both["web"]
    assert git(world, "web", "status", "--porcelain") == ""
    with serve_github() as hub:
        proposed_in_both(world, hub)
        asked_in_one(world, hub)
    with Terminal(world, "-C", home, "shell", "T2") as shell:
        shell.answer("$ ", "echo in $PWD with $(ls ..); exit")
        shell.wait_for("in /work/web with api web")
    assert world.run("apply", "-C", home).code == 0
    assert "amount, currency" in Path(world.folder, "web", "shop.py").read_text()


def test_where_the_second_fails_neither_repository_gets_a_branch(make: MakeWorld) -> None:
    world, _ = make(
        TEAM.replace("[codexteam.steps]", "[codexteam.limits]\nmax_attempts = 1\n[codexteam.steps]"), failing
    )

    done = world.run("run", *two_repositories(world), GOAL)

    assert done.code == 3, done.err
    assert "T2 failed" in done.out
    assert landed(world) == {}
