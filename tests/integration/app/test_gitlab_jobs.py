"""What the jobs of a GitLab pipeline write: one note that is kept up to date, and a branch with its merge request."""

import json
import os
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from codexteam.app.ci.gitlab import push_handover
from codexteam.app.ci.handover import HandedOver, publish_handover, read_handover
from codexteam.app.ci.plan_comment import MARK, put_plan_comment
from codexteam.app.project import find_project
from codexteam.app.pull_request import PullWanted
from codexteam.core.ids import JSONObject, JSONValue
from codexteam.errors import LandingError, UsageError

NOTES = "/projects/42/merge_requests/7/notes"


@contextmanager
def serve_gitlab(notes: list[JSONObject]) -> Iterator[str]:
    """Serve the notes of merge request 7; the token's user has the id 1."""

    class Handler(BaseHTTPRequestHandler):
        def _do(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers.get("content-length") or 0)) or b"{}")
            path = self.path.partition("?")[0]
            status = 200
            said: JSONValue = {"id": 1}
            if self.headers.get("private-token") != "token":
                status, said = 401, {"message": "401 Unauthorized"}
            elif path == NOTES and self.command == "POST":
                notes.append({"id": len(notes), "author": {"id": 1}, **body})
            elif path == NOTES:
                said = [*notes]
            elif path.startswith(NOTES):
                notes[int(path.rpartition("/")[2])].update(body)
            data = json.dumps(said).encode()
            self.send_response(status)
            self.send_header("content-length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        do_GET = do_POST = do_PUT = _do  # noqa: N815 - the server's names

        def log_message(self, *args: object) -> None:
            return

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def test_a_plan_is_one_note_and_nobody_else_s_is_changed(tmp_path: Path) -> None:
    notes: list[JSONObject] = [{"id": 0, "author": {"id": 2}, "body": f"{MARK}\nmine"}]
    summary = tmp_path / "summary.md"
    with serve_gitlab(notes) as url:
        job = {"GITLAB_CI": "true", "CI_API_V4_URL": url, "CI_PROJECT_ID": "42", "CODEXTEAM_TOKEN": "token"}
        created = []
        for text in ("first", "second"):
            summary.write_text(text)
            created.append(put_plan_comment(job, summary, 7).created)
        with pytest.raises(LandingError, match="GitLab answers 401"):
            put_plan_comment({**job, "CODEXTEAM_TOKEN": "wrong"}, summary, 7)
        with pytest.raises(UsageError, match="CODEXTEAM_TOKEN is not set"):
            put_plan_comment({**job, "CODEXTEAM_TOKEN": ""}, summary, 7)

    assert created == [True, False]
    assert [note["body"] for note in notes] == [f"{MARK}\nmine", f"{MARK}\nsecond"]


def git(folder: Path, *words: str) -> str:
    author = ("-c", "user.name=A", "-c", "user.email=a@example")
    done = subprocess.run(["git", *author, *words], cwd=folder, check=True, capture_output=True, text=True)
    return done.stdout.strip()


def test_a_branch_is_pushed_with_the_wish_for_a_merge_request(tmp_path: Path) -> None:
    remote, work, left = tmp_path / "acme" / "tally.git", tmp_path / "work", tmp_path / "left"
    git(tmp_path, "init", "-q", "--bare", str(remote))
    git(remote, "config", "receive.advertisePushOptions", "true")
    hook = remote / "hooks" / "post-receive"
    hook.parent.mkdir(exist_ok=True)
    hook.write_text(f"#!/bin/sh\nenv | grep ^GIT_PUSH_OPTION > {tmp_path / 'options'}\n")
    hook.chmod(0o755)
    git(tmp_path, "init", "-q", "-b", "main", str(work))
    git(work, "commit", "-q", "--allow-empty", "-m", "A")
    branch = "codexteam/20260101-0000-abcd"
    git(work, "switch", "-q", "-c", branch)
    git(work, "commit", "-q", "--allow-empty", "-m", "B")
    head = git(work, "rev-parse", "HEAD")
    left.mkdir()
    git(work, "bundle", "create", "-q", str(left / "branch.bundle"), f"main..{branch}")
    git(work, "switch", "-q", "main")
    git(work, "branch", "-q", "-D", branch)
    fields = {
        "type": "codexteam.pull-request",
        "run": "20260101-0000-abcd",
        "head": head,
        "title": "Add\nx",
        "body": "",
    }
    job = {"CI_SERVER_URL": f"file://{tmp_path}", "CI_PROJECT_PATH": "acme/tally", "CODEXTEAM_TOKEN": "token"}
    project = find_project(work, {"PATH": os.environ["PATH"], "HOME": str(tmp_path), **job})

    def handed(*, draft: bool = False, **result: JSONValue) -> HandedOver:
        (left / "pull-request.json").write_text(json.dumps({**fields, "draft": draft}))
        (left / "result.json").write_text(json.dumps({"run": fields["run"], **result}))
        found = read_handover(left)
        assert found is not None
        return found

    unfit = [
        (handed(draft=True, exit_code=0), "is not green"),
        (handed(exit_code=4, over_limits="9usd of 5usd"), "ended with exit code 4: 9usd of 5usd"),
        (handed(exit_code=0, run="20260101-0000-ffff"), "says nothing of it"),
    ]
    for each, words in unfit:
        with pytest.raises(LandingError, match=words):
            push_handover(project, each, "main", draft=False, not_green=False)
        with pytest.raises(LandingError, match=words):
            publish_handover(project, each, PullWanted())
    with pytest.raises(subprocess.CalledProcessError):
        git(remote, "rev-parse", "--verify", "-q", branch)
    pushed = push_handover(project, handed(exit_code=0), "main", draft=False, not_green=False)

    assert (pushed.branch, git(remote, "rev-parse", branch)) == (branch, head)
    told = (tmp_path / "options").read_text()
    assert "=merge_request.create\n" in told
    assert "=merge_request.target=main\n" in told
    assert "=merge_request.title=Add" in told
    assert "GIT_PUSH_OPTION_COUNT=4" in told


def test_a_run_that_changed_nothing_leaves_nothing_to_publish(tmp_path: Path) -> None:
    for fields, nothing in (
        ({"command": "run", "exit_code": 0}, True),
        ({"command": "run", "exit_code": 3}, False),
        ({"command": "plan", "exit_code": 0}, False),
    ):
        (tmp_path / "result.json").write_text(json.dumps(fields))
        if nothing:
            assert read_handover(tmp_path) is None
        else:
            with pytest.raises(UsageError, match="the run has left no branch"):
                read_handover(tmp_path)
