"""`review` through the real command: a change that others made is judged, and nothing is changed."""

import json
from pathlib import Path

import pytest

from codexteam.core.ids import JSONObject
from tests.demo import script
from tests.e2e.conftest import MakeWorld
from tests.e2e.test_pull_request import branches, with_remote
from tests.e2e.world import World, fingerprint
from tests.scripted_api.script import Call, Played, message
from tests.support_github import TOKEN, serve_github

pytestmark = [pytest.mark.slow, pytest.mark.bubblewrap, pytest.mark.timeout(300)]

TEAM = (
    '[codexteam.sandbox]\nkind = "bubblewrap"\n'
    '[codexteam.gates]\nenabled = ["ci_runner", "reviewer"]\ncommands = ["python3 -m unittest"]\n'
)
LOST: JSONObject = {
    "title": "Cents are lost",
    "detail": "Amounts are cut to whole units: 1.99 becomes 1.",
    "severity": "must_fix",
    "category": "correctness",
    "file": "tally/money.py",
    "line": 3,
    "suggestion": "Round half up.",
    "paths": [],
}
NAMED: JSONObject = {**LOST, "title": "The name says nothing", "severity": "nit", "line": 1, "suggestion": None}


def verdict(*findings: JSONObject) -> Played:
    """The reviewer's answer."""
    blocks = any(one["severity"] == "must_fix" for one in findings)
    word = "block" if blocks else "ship"
    return [message({"verdict": word, "summary": "Read.", "findings": list(findings), "risks": []})]


class Reviewer:
    """A reviewer that finds what the test says; `asked` keeps what it was asked."""

    def __init__(self, *found: JSONObject) -> None:
        self.found = found
        self.asked: list[str] = []

    def __call__(self, call: Call) -> Played:
        if call.purpose != "review":
            return script.play(call)
        self.asked.append(json.dumps(call.body))
        return verdict(*self.found)


def on_a_branch(world: World, text: str = "LIMIT = 3\n") -> None:
    """Commit a change on a branch of its own."""
    if not world.git("branch", "--list", "feature").strip():
        world.git("switch", "-q", "-c", "feature")
    (world.repository / "tally" / "limit.py").write_text(text)
    world.git("add", "tally/limit.py")
    world.git("commit", "-q", "-m", f"Limit: {text.strip()}", "--", "tally/limit.py")


def reviewed(line: JSONObject) -> list[tuple[object, object]]:
    """Each finding with its standing."""
    findings = line["findings"]
    assert isinstance(findings, list)
    return [(one["title"], one["standing"]) for one in findings if isinstance(one, dict)]


def test_a_second_review_says_what_is_fixed_new_and_unchanged(make: MakeWorld, tmp_path: Path) -> None:
    reviewer = Reviewer(LOST, NAMED)
    world, api = make(TEAM, reviewer)
    on_a_branch(world)
    before = fingerprint(world)

    first = world.run("review", "-o", str(tmp_path / "found.sarif"))

    assert first.code == 3, first.err
    assert first.out.startswith("block: 1 finding must be fixed\nof      feature against main, ")
    assert "F1      new, must fix tally/money.py:3: Cents are lost\n        Amounts are cut" in first.out
    assert "gates   ci_runner ship, reviewer block" in first.out
    assert {request.call.purpose for request in api.requests} == {"review"}
    assert "Limit: LIMIT = 3" in reviewer.asked[0]
    assert fingerprint(world) == before
    assert not (world.repository / "plan.md").exists()
    assert "codexteam/" not in world.git("for-each-ref")
    sarif = json.loads((tmp_path / "found.sarif").read_text())
    assert [len(run["results"]) for run in sarif["runs"]] == [0, 2]

    on_a_branch(world, "LIMIT = 4\n")
    reviewer.found = ({**LOST, "title": "Nobody reads LIMIT", "file": "tally/limit.py"},)
    second = world.run("review", "--base", "main", "--json")

    assert second.code == 3, second.err
    line = second.lines[-1]
    assert (line["kind"], line["verdict"], line["exit_code"]) == ("review", "block", 3)
    assert reviewed(line) == [("Nobody reads LIMIT", "new"), ("Cents are lost", "fixed")]
    assert "Cents are lost" in reviewer.asked[1]

    reviewer.found = ({**LOST, "title": "Nobody reads LIMIT", "file": "tally/limit.py", "line": 9},)
    third = world.run("review")
    assert "F1      unchanged, must fix tally/limit.py:9" in third.out
    assert "0 fixed, 0 new, 1 unchanged" in third.out

    waived = world.run("answer", "findings", "waive", "F1")
    assert waived.code == 0, waived.err
    assert world.run("resume").out.startswith("ship: with 1 finding waived by you: F1")
    fourth = world.run("review")
    assert (fourth.code, "waived, must fix" in fourth.out) == (0, True)
    on_a_branch(world, "LIMIT = 5\n")  # nobody looked at that
    fifth = world.run("review")
    assert (fifth.code, "F1      new, must fix tally/limit.py:9" in fifth.out) == (3, True)


def test_an_audit_judges_what_is_there_and_plans_what_is_found(make: MakeWorld, tmp_path: Path) -> None:
    reviewer = Reviewer({**LOST, "paths": ["tally/money.py", "tests/**"]}, NAMED)
    world, api = make(TEAM, reviewer)
    before = fingerprint(world)
    plan = tmp_path / "fix.md"

    first = world.run("audit", "tally", "--plan", str(plan))

    assert first.code == 3, first.err
    assert first.out.startswith("block: 1 finding must be fixed\nof      tally on main, ")
    assert {request.call.purpose for request in api.requests} == {"review"}
    assert "Audit what is below tally for what is wrong and what is dead." in reviewer.asked[0]
    assert fingerprint(world) == before
    assert "**T1** Cents are lost `implementer` (effort 2)" in plan.read_text()

    reviewer.found = ()
    (world.repository / "tally" / "limit.py").write_text("LIMIT = 3\n")
    world.git("add", "tally/limit.py")
    world.git("commit", "-q", "-m", "Limit", "--", "tally/limit.py")
    again = world.run("audit", "./tally/", "--json")
    assert again.code == 0, again.err
    assert reviewed(again.lines[-1]) == [("Cents are lost", "fixed")]


def test_an_audit_of_what_is_not_there_asks_nobody(make: MakeWorld, tmp_path: Path) -> None:
    world, api = make(TEAM, Reviewer())
    plan = tmp_path / "fix.md"
    plan.write_text("mine")

    for arguments, said in (
        (("nowhere",), "HEAD holds no such file or folder"),
        ((str(tmp_path),), "it is outside of the repository"),
        (("--plan", str(plan)), "it is there already"),
    ):
        refused = world.run("audit", *arguments)
        assert (refused.code, said in refused.err) == (2, True), refused.err
    assert (api.requests, plan.read_text()) == ([], "mine")


def test_uncommitted_changes_are_judged_as_they_are(make: MakeWorld) -> None:
    reviewer = Reviewer()
    world, _ = make(TEAM, reviewer)
    (world.repository / "ignored.log").write_text("noise\n")
    (world.repository / ".git" / "info" / "exclude").write_text("*.log\n")
    before = fingerprint(world)

    ended = world.run("review", "--uncommitted")

    assert ended.code == 0, ended.err
    assert ended.out.startswith("ship: no gate found anything that must be fixed\nof      uncommitted changes on main")
    assert all(word in reviewer.asked[0] for word in ("the user's own, not committed", "staged.txt", "untracked.txt"))
    assert "ignored.log" not in reviewer.asked[0]
    assert fingerprint(world) == before


def test_a_change_that_breaks_the_tests_is_blocked_by_what_ran(make: MakeWorld) -> None:
    world, _ = make(TEAM, Reviewer())
    broken = world.repository / "tally" / "money.py"
    broken.write_text("def nothing():\n    return None\n")

    ended = world.run("review", "--uncommitted", "--json")

    assert ended.code == 3, ended.err
    line = ended.lines[-1]
    assert line["verdict"] == "block"
    [one] = [each for each in line["findings"] if isinstance(each, dict) and each["blocks"]]  # type: ignore[union-attr]
    assert one["gate"] == "ci_runner"


def test_what_is_no_change_is_said_and_nothing_is_asked(make: MakeWorld) -> None:
    world, api = make(TEAM, Reviewer())
    on_a_branch(world)

    file = world.folder / "found.sarif"
    file.write_text("of another review")
    same = world.run("review", "HEAD..HEAD", "-o", str(file))
    assert (same.code, same.out) == (0, "nothing to review: HEAD..HEAD: no file differs\n")
    assert json.loads(file.read_text())["runs"][0]["results"] == []
    wrong = {
        ("--base", "nowhere"): "--base: found 'nowhere', which is not a commit here",
        ("HEAD",): "RANGE 'HEAD': allowed are A..B",
        ("--commit", "main"): "--commit main: it has no parent",
        ("--uncommitted", "--base", "main"): "--base and --uncommitted name different changes",
        ("-o", "found.txt"): "--output found.txt: its ending says no format",
    }
    for arguments, words in wrong.items():
        ended = world.run("review", *arguments)
        assert ended.code == 2, ended.err
        assert words in ended.err
    assert api.requests == []


def test_a_pull_request_is_fetched_judged_and_nothing_of_it_stays(make: MakeWorld) -> None:
    reviewer = Reviewer(LOST)
    world, _ = make(TEAM, reviewer)
    remote = with_remote(world)
    on_a_branch(world)
    world.git("push", "-q", "origin", "feature:refs/pull/7/head")
    world.git("switch", "-q", "main")
    world.git("branch", "-q", "-D", "feature")
    before = world.git("for-each-ref")

    with serve_github() as hub:
        token = {"GITHUB_TOKEN": TOKEN, "GITHUB_SERVER_URL": "https://github.example", "GITHUB_API_URL": hub.url}
        hub.answer("POST", "/repos/acme/tally/pulls", {}, {"title": "Set a limit", "head": "feature", "base": "main"})
        ended = world.run("review", "--pr", "7", **token)
        gone = world.run("review", "--pr", "8", **token)

    assert ended.code == 3, ended.err
    assert "of      pull request 7: Set a limit, " in ended.out
    assert "Limit: LIMIT = 3" in reviewer.asked[0]
    assert world.git("for-each-ref") == before
    assert branches(remote) == ["main", "pull/7/head"]
    assert "Set a limit" not in world.run("status").out.splitlines()[0]  # its author instructs nobody
    assert (gone.code, "no such repository, pull request or issue" in gone.err) == (7, True)
