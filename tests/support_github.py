"""A stand-in for GitHub's API on loopback: one repository with its pull requests, as the public descriptions have them."""

import json
import subprocess
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, TypeAlias
from urllib.parse import parse_qs, unquote, urlsplit

from codexteam.core.ids import JSONObject, JSONValue
from tests.support_graphql import answer_graph

TOKEN = "ghs_" + "standin0123456789"
#: Status, body and headers that a request is answered with instead.
Refusal: TypeAlias = tuple[int, JSONValue, dict[str, str]]


@dataclass
class GitHub:
    """What the server holds, and how it is to misbehave."""

    url: str = ""
    name: str = "tally"
    """Of the repository."""
    beside: "dict[str, GitHub]" = field(default_factory=dict)
    """Further repositories of the same server, by name."""
    pulls: list[JSONObject] = field(default_factory=list)
    may_push: bool = True
    asked: list[tuple[str, str]] = field(default_factory=list)
    """Method and path of each request."""
    refusals: list[Refusal] = field(default_factory=list)
    """What the next requests are answered with instead; status 0 breaks the connection after the request was done."""
    refuse: Callable[[str, str, JSONObject], Refusal | None] = lambda *_: None
    """What a request is answered with instead, by its method, path and body."""
    remote: Path | None = None
    """The repository behind it, which says what its branches point to."""
    viewer: str = "user"
    """Whose token it is."""
    people: dict[str, str] = field(default_factory=lambda: {"user": "admin", "alice": "write", "mallory": "read"})
    """Who may do what."""
    threads: list[dict[str, Any]] = field(default_factory=list)
    """Review threads of the pull request: `id`, `path`, `line`, `resolved`, and `comments` of `id`, `author`, `body`."""
    reviews: list[dict[str, Any]] = field(default_factory=list)
    checks: dict[str, list[JSONObject]] = field(default_factory=dict)
    """Check runs by commit."""
    statuses: dict[str, list[JSONObject]] = field(default_factory=dict)
    annotations: dict[str, list[JSONObject]] = field(default_factory=dict)
    issues: dict[str, JSONObject] = field(default_factory=dict)
    issue_comments: dict[str, list[JSONObject]] = field(default_factory=dict)
    dispatched: list[tuple[str, JSONObject]] = field(default_factory=list)
    """Workflows that were started, each with what it was given."""

    def comment(self, thread: str, author: str, body: str, *, path: str = "tally/markdown.py", line: int = 1) -> None:
        """Let somebody write in a thread; a new one begins with it."""
        known = next((one for one in self.threads if one["id"] == thread), None)
        if known is None:
            known = {"id": thread, "path": path, "line": line, "resolved": False, "comments": []}
            self.threads.append(known)
        number = sum(len(one["comments"]) for one in self.threads) + 1
        known["comments"].append({"id": f"PRRC_{number}", "author": author, "body": body})

    def said(self, thread: str) -> list[str]:
        """What the token's user wrote in a thread."""
        [known] = [one for one in self.threads if one["id"] == thread]
        return [one["body"] for one in known["comments"] if one["author"] == self.viewer]

    def head(self, branch: str) -> str:
        """What a branch points to."""
        ref = ["git", "rev-parse", "--verify", "-q", f"refs/heads/{branch}"]
        return subprocess.run(ref, cwd=self.remote, check=False, capture_output=True, text=True).stdout.strip()

    def _seen(self, pull: JSONObject) -> JSONObject:
        head = pull["head"]
        if not isinstance(head, dict) or self.remote is None or "sha" in head:
            return pull
        repo: JSONObject = {"full_name": f"acme/{self.name}"}
        return {**pull, "head": {"ref": head["ref"], "sha": self.head(str(head["ref"])), "repo": repo}}

    def answer(self, method: str, path: str, query: dict[str, list[str]], body: JSONObject) -> tuple[int, JSONValue]:
        """Do a request."""
        if (other := self.beside.get("".join(path.split("/")[3:4]))) is not None:
            return other.answer(method, path, query, body)
        if path == "/graphql":
            return 200, answer_graph(self._meant(body), body)
        status, said = self._answered(method, path, query, body)
        if status < 300 and isinstance(said, dict) and "head" in said:
            return status, self._seen(said)
        return status, [
            self._seen(one) if isinstance(one, dict) and "head" in one else one for one in said
        ] if isinstance(said, list) else said

    def _meant(self, body: JSONObject) -> "GitHub":
        """The repository that a query names, or whose thread it is about."""
        named = body.get("variables")
        said = {str(value) for value in named.values()} if isinstance(named, dict) else set()
        for name, other in self.beside.items():
            if name in said or said & {str(thread["id"]) for thread in other.threads}:
                return other
        return self

    def _answered(self, method: str, path: str, query: dict[str, list[str]], body: JSONObject) -> tuple[int, JSONValue]:
        root = f"/repos/acme/{self.name}"
        number = path.removeprefix(f"{root}/pulls/")
        match method, path.removeprefix(f"{root}/").split("/"):
            case "GET", ["commits", commit, "check-runs"]:
                listed = self.checks.get(commit, [])
                page, size = int(query["page"][0]), int(query["per_page"][0])
                return 200, {"total_count": len(listed), "check_runs": [*listed[(page - 1) * size : page * size]]}
            case "GET", ["commits", commit, "status"]:
                return 200, {"state": "pending", "sha": commit, "statuses": [*self.statuses.get(commit, [])]}
            case "GET", ["check-runs", run, "annotations"]:
                return 200, [*self.annotations.get(run, [])]
            case "GET", ["branches", branch] if head := self.head(unquote(branch)):
                return 200, {"name": unquote(branch), "commit": {"sha": head}}
            case "GET", ["collaborators", login, "permission"] if unquote(login) in self.people:
                return 200, {"permission": self.people[unquote(login)], "user": {"login": unquote(login)}}
            case "GET", ["issues", issue] if issue in self.issues:
                return 200, {
                    "number": int(issue),
                    **self.issues[issue],
                    "comments": len(self.issue_comments.get(issue, [])),
                }
            case "GET", ["issues", issue, "comments"]:
                page, size = int(query["page"][0]), int(query["per_page"][0])
                return 200, [*self.issue_comments.get(issue, [])[(page - 1) * size : page * size]]
            case "POST", ["issues", issue, "comments"]:
                number_of_it = 100 + sum(map(len, self.issue_comments.values()))
                url = f"https://github.example/acme/tally/pull/{issue}#issuecomment-{number_of_it}"
                said: JSONObject = {**body, "id": number_of_it, "user": {"login": self.viewer}, "html_url": url}
                self.issue_comments.setdefault(issue, []).append(said)
                return 201, said
            case "POST", ["actions", "workflows", workflow, "dispatches"]:
                self.dispatched.append((workflow, body))
                return 204, None
            case "PATCH", ["issues", "comments", comment]:
                listed = [one for comments in self.issue_comments.values() for one in comments]
                [found] = [one for one in listed if str(one.get("id")) == comment]
                found.update(body)
                return 200, found
            case _:
                pass
        match method, path:
            case "GET", "/user":
                bot = self.viewer.endswith("[bot]")
                return (
                    (403, {"message": "Resource not accessible by integration"})
                    if bot
                    else (200, {"login": self.viewer})
                )
            case "GET", _ if path == root:
                return 200, {"name": self.name, "default_branch": "main", "permissions": {"push": self.may_push}}
            case "GET", _ if path == f"{root}/pulls":
                head = query["head"][0].removeprefix("acme:")
                return 200, [one for one in self.pulls if one["state"] == "open" and one["head"] == {"ref": head}]
            case "POST", _ if path == f"{root}/pulls":
                if any(one["head"] == {"ref": body["head"]} for one in self.pulls):
                    message = f"A pull request already exists for acme:{body['head']}."
                    return 422, {"message": "Validation Failed", "errors": [{"message": message}]}
                made: JSONObject = {
                    **body,
                    "number": len(self.pulls) + 7,
                    "state": "open",
                    "html_url": f"https://github.example/acme/{self.name}/pull/{len(self.pulls) + 7}",
                    "head": {"ref": body["head"]},
                    "base": {"ref": body["base"]},
                }
                self.pulls.append(made)
                return 201, made
            case "GET", _ if number.isdigit() and any(str(one["number"]) == number for one in self.pulls):
                return 200, next(one for one in self.pulls if str(one["number"]) == number)
            case "PATCH", _:
                [known] = [one for one in self.pulls if str(one["number"]) == number]
                known.update({**body, "base": {"ref": body["base"]}} if "base" in body else body)
                return 200, known
            case _:
                return 404, {"message": "Not Found"}


@contextmanager
def serve_github() -> Iterator[GitHub]:
    """Serve a repository `acme/tally` until the end of the block."""
    hub = GitHub()

    class Handler(BaseHTTPRequestHandler):
        def _do(self) -> None:
            length = int(self.headers.get("content-length") or 0)
            body = json.loads(self.rfile.read(length) or b"{}")
            parts = urlsplit(self.path)
            hub.asked.append((self.command, parts.path))
            headers: dict[str, str] = {}
            said: JSONValue
            if self.headers.get("authorization") != f"Bearer {TOKEN}":
                status, said = 401, {"message": "Bad credentials"}
            elif refused := hub.refusals.pop(0) if hub.refusals else hub.refuse(self.command, parts.path, body):
                status, said, headers = refused
                if status == 0:
                    hub.answer(self.command, parts.path, parse_qs(parts.query), body)
                    self.close_connection = True
                    return
            else:
                status, said = hub.answer(self.command, parts.path, parse_qs(parts.query), body)
            data = b"" if status == 204 else json.dumps(said).encode()
            self.send_response(status)
            for name, value in {**headers, "content-length": str(len(data))}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(data)

        do_GET = do_POST = do_PATCH = _do  # noqa: N815 - the server's names

        def log_message(self, *args: object) -> None:
            return

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    hub.url = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    try:
        yield hub
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
