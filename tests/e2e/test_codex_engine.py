"""The user's own Codex runs the agents: the real program, signed in as the user is, with its hands in our sandbox."""

import asyncio
import base64
import json
import os
import shutil
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from codexteam.core.ids import JSONObject
from tests.conftest import codex_binary
from tests.demo import edits
from tests.demo.script import run
from tests.e2e import eight_tasks, one_task
from tests.e2e.conftest import BUBBLEWRAP, MakeWorld
from tests.e2e.test_eight_tasks import DOCKER, IMAGE_SCRIPT, LENIENT, check_branch, check_story
from tests.e2e.world import KEY, World, fingerprint
from tests.scripted_api import serve_in_thread
from tests.scripted_api.script import Call, HttpError, Played, Reply, Stall, custom_call, function_call, message

pytestmark = [pytest.mark.codex, pytest.mark.bubblewrap, pytest.mark.timeout(300)]

_ENGINE = '[codexteam]\nengine = "codex"\n'
_LENIENT_ENGINE = LENIENT + 'engine = "codex"\n'
_TEAM = _ENGINE + one_task.TEAM
#: A model that this Codex knows, and gives a tool for patches.
_MODEL = "gpt-5.5"
#: One whose tools are called from JavaScript that Codex runs itself.
_CODE_MODEL = "gpt-6-astra"


def _on_codex(world: World, model: str = _MODEL) -> dict[str, str]:
    """Let the user have a Codex, and a model that it knows."""
    config = world.home / ".codex" / "config.toml"
    config.write_text(config.read_text().replace("gpt-5.4", model))
    binary = codex_binary()
    assert binary is not None
    return {"PATH": f"{Path(binary).parent}:{world.environment()['PATH']}"}


def _outputs(call: Call) -> str:
    return json.dumps([item.get("output") for item in call.outputs])


def _first(*items: Callable[[Call], JSONObject]) -> Callable[[Call], Played]:
    """Play the one task, whose agent does these things first, one in each turn."""

    def play(call: Call) -> Played:
        if call.purpose == "implement" and call.turn <= len(items):
            return [items[call.turn - 1](call)]
        if call.purpose == "implement" and call.turn == len(items) + 1:
            return one_task.play(
                Call(call.number, call.tries, {**call.body, "metadata": _at_turn(call, 1)}, call.headers)
            )
        return one_task.play(call)

    return play


def _at_turn(call: Call, turn: int) -> JSONObject:
    return {"role": call.role, "purpose": call.purpose, "task_id": call.task_id, "attempt": "1", "turn": str(turn)}


@pytest.mark.slow
def test_eight_tasks_on_the_users_codex_end_green(make: MakeWorld) -> None:
    world, api = make(_LENIENT_ENGINE + BUBBLEWRAP)
    _run_eight(world)
    assert all("thread-id" in request.call.headers for request in api.requests)


@pytest.mark.slow
def test_a_mixed_team_ends_green(make: MakeWorld) -> None:
    _run_mixed_team(make, BUBBLEWRAP)


@pytest.mark.complete
@pytest.mark.docker
def test_a_mixed_team_ends_green_with_docker(make: MakeWorld) -> None:
    subprocess.run(["python3", str(IMAGE_SCRIPT)], check=True, capture_output=True)
    _run_mixed_team(make, DOCKER)


def _run_mixed_team(make: MakeWorld, sandboxes: str) -> None:
    world, api = make(LENIENT + '[codexteam.role_engines]\nimplementer = "codex"\nreviewer = "codex"\n' + sandboxes)
    _run_eight(world)
    on_codex = {request.call.role for request in api.requests if "thread-id" in request.call.headers}
    assert on_codex == {"implementer", "reviewer"}


@pytest.mark.slow
@pytest.mark.docker
def test_eight_tasks_on_the_users_codex_end_green_with_docker(make: MakeWorld) -> None:
    subprocess.run(["python3", str(IMAGE_SCRIPT)], check=True, capture_output=True)
    world, _ = make(_LENIENT_ENGINE + DOCKER)
    _run_eight(world)


def _run_eight(world: World) -> None:
    before = fingerprint(world)
    ended = world.run("run", eight_tasks.GOAL, **_on_codex(world))
    assert ended.code == 0, ended.out + ended.err
    assert fingerprint(world) == before
    check_branch(world)
    check_story(world.events())


def test_an_agents_commands_see_no_credential_and_no_way_out(make: MakeWorld) -> None:
    seen: list[Call] = []

    def look(_call: Call) -> JSONObject:
        return run("env; cat /proc/net/dev; ls -A / /root /home; cat ~/.codex/auth.json; echo $CODEX_HOME")

    def play(call: Call) -> Played:
        seen.append(call)
        return _first(look)(call)

    world, _ = make(_TEAM, play)
    ended = world.run("run", one_task.GOAL, "--json", **_on_codex(world))
    assert ended.code == 0, ended.out[-3000:] + ended.err
    shown = next(_outputs(call) for call in seen if call.purpose == "implement" and call.turn == 2)
    assert "lo:" in shown
    assert "eth0" not in shown
    assert KEY not in shown
    assert str(world.home) not in shown
    assert "auth.json: No such file" in shown
    receipts = [line for line in ended.lines if line["kind"] == "agent.received"]
    assert all('"engine": {"value": "codex"' in json.dumps(line) for line in receipts)


def test_an_exec_server_that_dies_costs_one_command(make: MakeWorld) -> None:
    world, _ = make(_TEAM, _first(lambda _: run("pkill -f exec-server; sleep 5"), lambda _: run("echo again")))
    ended = world.run("run", one_task.GOAL, "--json", **_on_codex(world))
    assert ended.code == 0, ended.out[-3000:] + ended.err


def test_a_model_that_calls_tools_from_code_works(make: MakeWorld) -> None:
    code = 'const r = await tools.exec_command({cmd: "printf %s hello > note.txt; cat note.txt; rm note.txt"}); text(r.output)'
    seen: list[Call] = []

    def patched(call: Call) -> Played:
        seen.append(call)
        if call.purpose == "implement" and call.turn == 1:
            return [custom_call("exec", code)]
        if call.purpose == "implement" and call.turn == 2:
            text = edits.add(tally__markdown=edits.MARKDOWN, tests__test_markdown=edits.TEST_MARKDOWN)
            return [custom_call("exec", f"text(String(await tools.apply_patch({json.dumps(text)})))")]
        if call.purpose in ("scout", "document"):
            return [message(_nothing(call))]
        return one_task.play(call)

    gates = 'commands = ["python3 -m unittest discover -q -s tests -t ."]\n'
    world, _ = make(_TEAM + gates, patched)
    ended = world.run("run", one_task.GOAL, "--json", **_on_codex(world, _CODE_MODEL))
    assert ended.code == 0, ended.out[-3000:] + ended.err
    assert any("hello" in _outputs(call) for call in seen if call.purpose == "implement")


def _nothing(call: Call) -> JSONObject:
    if call.purpose == "scout":
        return {"summary": "", "facts": [], "files": [], "commands": [], "risks": [], "unknowns": [], "next_probes": []}
    return {"outcome": "done", "summary": "Nothing to write.", "commands": [], "risks": [], "notes": ""}


def test_what_is_said_to_an_agent_reaches_its_thread(make: MakeWorld) -> None:
    seen: list[Call] = []
    is_said = threading.Event()

    async def play(call: Call) -> Played:
        seen.append(call)
        while call.purpose == "implement" and call.turn == 2 and not is_said.is_set():
            await asyncio.sleep(0.05)
        return _first(lambda _: run("true"), lambda _: run("true"))(call)

    world, _ = make(_TEAM, play)
    process = world.start("run", one_task.GOAL, "--json", **_on_codex(world))
    _wait_for(lambda: any(call.purpose == "implement" and call.turn == 2 for call in seen))
    said = world.run("say", "T1", "Mind the gap.")
    is_said.set()
    out, err = process.communicate(timeout=200)
    assert said.code == 0, said.err
    assert process.returncode == 0, out[-2000:] + err
    assert "Mind the gap." in json.dumps([call.body for call in seen])


def test_an_agents_questions_are_answered_on_the_users_codex(make: MakeWorld) -> None:
    seen: list[Call] = []
    answer: JSONObject = {"summary": "In tally/money.py.", "files": [], "ci": [], "next_probes": [], "questions": None}

    def play(call: Call) -> Played:
        seen.append(call)
        if call.purpose == "lookup":
            return [message(answer)]
        return _first(lambda _: function_call("look_up", {"questions": ["Where are amounts formatted?"]}))(call)

    world, _ = make(_TEAM, play)
    ended = world.run("run", one_task.GOAL, "--json", **_on_codex(world))
    assert ended.code == 0, ended.out[-3000:] + ended.err
    assert [call.task_id for call in seen if call.purpose == "lookup"] == ["T1"]
    assert all("thread-id" in call.headers for call in seen if call.purpose == "lookup")
    told = next(_outputs(call) for call in seen if call.purpose == "implement" and call.turn == 2)
    assert "1. In tally/money.py." in told


def test_a_killed_run_continues_from_what_is_stored(make: MakeWorld) -> None:
    seen: list[Call] = []

    def play(call: Call) -> Played:
        seen.append(call)
        if (
            call.purpose == "implement"
            and call.turn == 2
            and sum(c.turn == 2 for c in seen if c.purpose == "implement") == 1
        ):
            return Stall()
        return one_task.play(call)

    world, _ = make(_TEAM, play)
    environment = _on_codex(world)
    process = world.start("run", one_task.GOAL, **environment)
    _wait_for(lambda: any(call.purpose == "implement" and call.turn == 2 for call in seen))
    time.sleep(1.0)  # until the first turn is stored
    process.send_signal(signal.SIGKILL)
    process.communicate()
    ended = world.run("resume", "--json", **environment)
    assert ended.code == 0, ended.out[-3000:] + ended.err
    turns = [call.turn for call in seen if call.purpose == "implement"]
    assert turns == [1, 2, 2], "what was answered is not asked again"
    assert ended.lines[-1]["kind"] == "run.finished"
    assert "markdown.py" in world.git("ls-tree", "-r", "--name-only", world.branch)


def test_a_plans_limit_stops_the_run_until_it_resets(make: MakeWorld) -> None:
    used_up = True
    resets = int(time.time()) + 3600
    body = json.dumps({"error": {"type": "usage_limit_reached", "plan_type": "plus", "resets_at": resets}}).encode()

    def play(call: Call) -> Played:
        if used_up and call.purpose == "implement":
            return HttpError(429, body=body)
        return one_task.play(call)

    world, _ = make(_TEAM, play)
    environment = _on_codex(world)
    stopped = world.run("run", one_task.GOAL, **environment)
    assert stopped.code == 4, stopped.out + stopped.err
    assert "limit" in stopped.err
    assert "codexteam resume" in stopped.err
    used_up = False
    ended = world.run("resume", **environment)
    assert ended.code == 0, ended.out + ended.err


def test_a_run_may_wait_until_a_limit_resets(make: MakeWorld) -> None:
    refused: list[Call] = []
    body = json.dumps({"error": {"type": "usage_limit_reached", "plan_type": "plus"}}).encode()

    def play(call: Call) -> Played:
        if call.purpose == "implement" and not refused:
            refused.append(call)
            window = {"used-percent": "100", "window-minutes": "300", "reset-at": str(int(time.time()) + 3)}
            return HttpError(
                429, body=body, headers={f"x-codex-primary-{name}": value for name, value in window.items()}
            )
        return one_task.play(call)

    world, _ = make(_TEAM, play)
    ended = world.run("run", one_task.GOAL, "--wait", **_on_codex(world))
    assert ended.code == 0, ended.out + ended.err
    assert len(refused) == 1


def test_a_request_that_is_refused_costs_an_attempt_not_the_run(make: MakeWorld) -> None:
    def play(call: Call) -> Played:
        if call.purpose == "implement" and call.attempt == 1:
            return HttpError(400, code="invalid_value", message="This call is refused.")
        return one_task.play(call)

    world, _ = make(_TEAM, play)
    ended = world.run("run", one_task.GOAL, "--json", **_on_codex(world))
    assert ended.code == 0, ended.out[-3000:] + ended.err
    assert [line["attempt"] for line in ended.lines if line["kind"] == "task.started"] == [1, 2]


def test_a_budget_is_passed_by_the_request_on_its_way_at_most(make: MakeWorld) -> None:
    world, api = make(_TEAM, _first(*[lambda _: run("true")] * 30))
    ended = world.run("run", one_task.GOAL, "--json", "--budget", "120k", **_on_codex(world))
    assert ended.code in (3, 4), ended.out[-3000:] + ended.err
    spent = sum(request.input_tokens for request in api.requests)
    most = max(request.input_tokens for request in api.requests)
    assert spent <= 120_000 + 2 * most


def test_a_chatgpt_sign_in_makes_codex_the_engine(make: MakeWorld) -> None:
    token = _token()
    world, other = make(one_task.TEAM)
    environment = _on_codex(world)
    with serve_in_thread(one_task.play) as api:
        _sign_in(world, token, other.base_url, api.base_url)
        ended = world.run("run", one_task.GOAL, "--json", **environment)
    assert ended.code == 0, ended.out[-3000:] + ended.err
    notices = [str(line.get("text")) for line in ended.lines if line["kind"] == "notice"]
    assert any("there is no API key" in notice for notice in notices), notices
    assert {request.call.headers["authorization"] for request in api.requests} == {f"Bearer {token}"}
    stored = [path for path in world.state.rglob("*") if path.is_file() and token.encode() in path.read_bytes()]
    assert stored == []


def _sign_in(world: World, token: str, before: str, base_url: str, top: str = "") -> None:
    """Sign Codex in with ChatGPT, as the provider at `base_url` is to see it; `top` is more of its configuration."""
    _write_sign_in(world, token)
    config = world.home / ".codex" / "config.toml"
    text = "\n".join(line for line in config.read_text().splitlines() if "env_key" not in line)
    config.write_text(f"{top}{text.replace(before, base_url)}\nrequires_openai_auth = true\n")


def _write_sign_in(world: World, token: str) -> None:
    tokens = {"id_token": token, "access_token": token, "refresh_token": "r", "account_id": "acc"}
    signed_in = {"auth_mode": "chatgpt", "tokens": tokens, "last_refresh": time.strftime("%Y-%m-%dT%H:%M:%SZ")}
    (world.home / ".codex" / "auth.json").write_text(json.dumps(signed_in))


class _JSONHandler(BaseHTTPRequestHandler):
    """Answers with JSON, and writes no log."""

    def answer(self, code: int, said: Mapping[str, object]) -> None:
        body = json.dumps(said).encode()
        self.send_response(code)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@contextmanager
def _served(handler: type[_JSONHandler]) -> Iterator[str]:
    """Serve on loopback, at the address that this gives."""
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        try:
            yield f"http://127.0.0.1:{server.server_address[1]}"
        finally:
            server.shutdown()


class _Plan:
    """A plan whose weekly window fills by two percent with each answer, as the account's service says it."""

    def __init__(self) -> None:
        self.used_percent = 40
        self.step_percent = 2
        self.resets_at = int(time.time()) + 3600
        self.resets_soon = False
        """Whether it resets some seconds after it is asked for, until this is taken back."""
        self.micro_credits: dict[str, int] = {}
        """What the service counts for a thread; it says nothing of others."""

    def play(self, call: Call) -> Played:
        played = one_task.play(call)
        assert isinstance(played, Sequence)
        self.used_percent += self.step_percent
        said = {"used-percent": self.used_percent, "window-minutes": 10_080, "reset-at": self.resets_at}
        return Reply(played, headers={f"x-codex-primary-{name}": str(value) for name, value in said.items()})

    @contextmanager
    def served(self) -> Iterator[str]:
        """Serve what is asked for without a call, at the address that this gives."""
        plan = self

        class Handler(_JSONHandler):
            def do_GET(self) -> None:
                resets_at = int(time.time()) + 6 if plan.resets_soon else plan.resets_at
                window = {"limit_window_seconds": 604_800, "reset_after_seconds": 3600, "reset_at": resets_at}
                primary = {"used_percent": plan.used_percent, **window}
                limit = {"allowed": True, "limit_reached": False, "primary_window": primary}
                credits_ = {"has_credits": True, "unlimited": False, "balance": "512.5"}
                self.answer(200, {"plan_type": "plus", "account_id": "acc", "rate_limit": limit, "credits": credits_})

            def do_POST(self) -> None:
                said = json.loads(self.rfile.read(int(self.headers.get("Content-Length", 0))))
                asked = said.get("thread_ids", []) if self.path.endswith("/wham/usage/thread_usage/query") else []
                threads = [
                    {
                        "thread_id": thread,
                        "estimated_usage_credits_micros": plan.micro_credits[thread],
                        "estimated_usage_usd_micros": None,
                        "groups": [],
                    }
                    for thread in asked
                    if thread in plan.micro_credits
                ]
                self.answer(200, {"threads": threads})

        with _served(Handler) as url:
            yield f"{url}/backend-api/"


@pytest.mark.slow
def test_a_share_of_a_plans_window_is_kept_and_continued(make: MakeWorld) -> None:
    plan, token = _Plan(), _token()
    world, other = make(_TEAM)
    environment = _on_codex(world)
    with plan.served() as url, serve_in_thread(plan.play) as api:
        _sign_in(world, token, other.base_url, api.base_url, f'chatgpt_base_url = "{url}"\n')
        unknown = world.run("run", one_task.GOAL, "--budget", "5%5h", **environment)
        assert unknown.code == 2, unknown.out + unknown.err
        assert "reports no such window (it reports: weekly window: 40 % used" in unknown.err
        stopped = world.run("run", one_task.GOAL, "--budget", "5%weekly", **environment)
        assert stopped.code == 4, stopped.out + stopped.err
        assert "5 % of the weekly window" in world.run("status").out
        assert "by this run" in world.run("status").out
        asked = len(api.requests)
        assert asked <= 4, "the calls that fit, and the one on its way"
        plan.used_percent = 60  # by somebody else
        plan.resets_soon = True
        waiting = world.start("resume", "--wait", **environment)
        assert waiting.stderr is not None
        for line in waiting.stderr:
            if line.startswith("waiting "):
                break
        plan.used_percent, plan.step_percent, plan.resets_at, plan.resets_soon = 0, 0, plan.resets_at + 604_800, False
        out, err = waiting.communicate(timeout=200)
        assert waiting.returncode == 0, out + err


@pytest.mark.slow
def test_a_budget_in_credits_holds_by_what_the_plan_counts(make: MakeWorld) -> None:
    plan, token = _Plan(), _token()
    plan.step_percent = 0

    async def play(call: Call) -> Played:
        if call.purpose == "implement" and call.turn == 1:
            plan.micro_credits[call.headers["thread-id"]] = 45_000_000
        while call.purpose == "implement" and call.turn == 2 and not _counts_credits(world):
            await asyncio.sleep(0.05)
        return plan.play(call)

    world, other = make(_TEAM)
    environment = _on_codex(world)
    with plan.served() as url, serve_in_thread(play) as api:
        _sign_in(world, token, other.base_url, api.base_url, f'chatgpt_base_url = "{url}"\n')
        stopped = world.run("run", one_task.GOAL, "--budget", "60credits", **environment)
        assert stopped.code == 4, stopped.out + stopped.err
        assert "512.5 credits left" in stopped.err, "the start says it"
        assert "credits of your plan: 45 used by this run, 512.5 credits left" in stopped.out + stopped.err
        assert "needs a budget of at least" in stopped.out + stopped.err
        assert "45 used by this run" in world.run("status").out
        ended = world.run("resume", "--budget", "5000credits", **environment)
        assert ended.code == 0, ended.out + ended.err
        assert "45 used by this run" in ended.out + ended.err


def _counts_credits(world: World) -> bool:
    return any(line["kind"] == "credits.read" and line["credits"] for line in world.events())


class _SignIn:
    """Where Codex renews its sign-in: the service gives a new token for an old one, until it is revoked."""

    def __init__(self) -> None:
        self.revoked = False
        self.renewed = 0

    @contextmanager
    def served(self) -> Iterator[str]:
        """Serve it at the address that this gives."""
        sign_in = self

        class Handler(_JSONHandler):
            def do_POST(self) -> None:
                self.rfile.read(int(self.headers.get("Content-Length", 0)))
                token = _token()
                code = 401 if sign_in.revoked else 200
                said: JSONObject = {"id_token": token, "access_token": token, "refresh_token": "next"}
                if sign_in.revoked:
                    said = {"error": {"code": "refresh_token_invalidated", "message": "revoked"}}
                sign_in.renewed += not sign_in.revoked
                self.answer(code, said)

        with _served(Handler) as url:
            yield f"{url}/oauth/token"


@pytest.mark.slow
def test_a_sign_in_that_expires_or_is_revoked_ends_in_a_resumable_run(make: MakeWorld) -> None:
    sign_in, refused = _SignIn(), list[Call]()

    def play(call: Call) -> Played:
        # at first Codex looks whether somebody else has renewed it
        expired = call.purpose == "implement" and len(refused) < 2
        if expired or (sign_in.revoked and call.purpose == "implement"):
            refused.append(call)
            return HttpError(401, code="token_expired", message="Provided authentication token is expired.")
        sign_in.revoked = sign_in.revoked or (len(refused) == 2 and call.purpose == "implement" and call.turn == 1)
        return one_task.play(call)

    world, other = make(_TEAM)
    with sign_in.served() as url, serve_in_thread(play) as api:
        _sign_in(world, _token(), other.base_url, api.base_url)
        environment = {**_on_codex(world), "CODEX_REFRESH_TOKEN_URL_OVERRIDE": url}
        stopped = world.run("run", one_task.GOAL, **environment)
        assert sign_in.renewed == 1, "a sign-in that expired is renewed"
        assert stopped.code == 6, stopped.out + stopped.err
        assert "not signed in, or no longer" in stopped.err
        assert "codex login" in stopped.err
        sign_in.revoked = False
        _write_sign_in(world, _token())
        asked = [call.call.turn for call in api.requests if call.call.purpose == "implement"]
        ended = world.run("resume", **environment)
        assert ended.code == 0, ended.out + ended.err
        again = [call.call.turn for call in api.requests if call.call.purpose == "implement"][len(asked) :]
        assert 1 not in again, "what was answered is not asked again"


@pytest.mark.slow
def test_codex_may_be_updated_while_a_run_is_at_work(make: MakeWorld) -> None:
    updated: list[Path] = []

    def play(call: Call) -> Played:
        if call.purpose == "implement" and call.turn == 1 and not updated:
            updated.append(_updated(folder))
        return one_task.play(call)

    world, _ = make(_TEAM, play)
    environment = _on_codex(world)
    folder = world.folder / "npm"
    command = Path(environment["PATH"].partition(":")[0], "codex").resolve()
    shutil.copytree(command.parents[2], folder / "@openai", copy_function=os.link)
    environment["PATH"] = f"{folder}:{environment['PATH'].partition(':')[2]}"
    (folder / "codex").symlink_to(folder / "@openai" / "codex" / command.relative_to(command.parents[1]))
    ended = world.run("run", one_task.GOAL, "--json", **environment)
    assert ended.code == 0, ended.out[-3000:] + ended.err
    assert updated


def _updated(folder: Path) -> Path:
    """Put new files in the place of Codex's, as its installer does."""
    new = folder.with_name("npm-new")
    shutil.copytree(folder / "@openai", new)
    (folder / "@openai").rename(folder / "old")
    new.rename(folder / "@openai")
    shutil.rmtree(folder / "old")
    return folder


@pytest.mark.slow
def test_two_runs_at_once_share_one_sign_in(make: MakeWorld) -> None:
    token = _token()
    world, other = make(_TEAM)
    second = world.folder / "second"
    subprocess.run(["git", "clone", "-q", str(world.repository), str(second)], check=True)
    with serve_in_thread(one_task.play) as api:
        _sign_in(world, token, other.base_url, api.base_url)
        environment = _on_codex(world)
        runs = [world.start(*where, "run", one_task.GOAL, **environment) for where in ((), ("-C", str(second)))]
        ended = [(run.communicate(timeout=250), run.returncode) for run in runs]
    assert [code for _, code in ended] == [0, 0], ended
    assert {request.call.headers["authorization"] for request in api.requests} == {f"Bearer {token}"}
    kept = json.loads((world.home / ".codex" / "auth.json").read_text())
    assert kept["tokens"]["refresh_token"] == "r"


def _token() -> str:
    def part(value: JSONObject) -> str:
        return base64.urlsafe_b64encode(json.dumps(value).encode()).decode().rstrip("=")

    plan: JSONObject = {"chatgpt_plan_type": "plus", "chatgpt_account_id": "acc", "chatgpt_user_id": "user"}
    claims: JSONObject = {
        "email": "u@example.org",
        "exp": int(time.time()) + 86_400,
        "https://api.openai.com/auth": plan,
    }
    return f"{part({'alg': 'none'})}.{part(claims)}.{part({'s': 'signature'})}"


def test_a_missing_codex_is_said_before_anything_is_spent(make: MakeWorld) -> None:
    world, api = make(_TEAM)
    ended = world.run("run", one_task.GOAL, PATH="/usr/bin:/bin")
    assert ended.code == 6, ended.out + ended.err
    assert "there is no `codex` on the PATH" in ended.err
    assert api.requests == []


def _wait_for(holds: Callable[[], bool], seconds: float = 120.0) -> None:
    deadline = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.05)
