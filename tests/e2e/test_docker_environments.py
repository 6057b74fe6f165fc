"""Whole runs in containers: a set-up script, its secret, and a service that CI's tests have beside them."""

import subprocess

import docker
import pytest

from codexteam.core.ids import JSONObject, JSONValue
from tests.contract.test_sandbox import SANDBOX_IMAGE
from tests.demo import script
from tests.demo.script import report, run, task
from tests.e2e.conftest import MakeWorld
from tests.e2e.world import World
from tests.integration.adapters.sandbox.docker.support import built
from tests.scripted_api.script import Call, Played, message

pytestmark = [pytest.mark.slow, pytest.mark.docker, pytest.mark.timeout(300)]

SERVICE = "codexteam-test-e2e-service:1"
TEAM = (
    f'[codexteam.sandbox]\nkind = "docker"\nimage = "{SANDBOX_IMAGE}"\nsetup = "setup.sh"\nsetup_secrets = ["TOKEN"]\n'
    '[codexteam.limits]\nmax_scouts = 0\n[codexteam.gates]\nenabled = ["ci_runner"]\n'
)
SETUP = (
    'set -e\ntest "$(cat /run/secrets/TOKEN)" = canary-token\nmkdir -p generated\n'
    'echo \'GREETING = "hello"\' >generated/words.py\necho "$PWD as $(id -u)" >/opt/codexteam/made\n'
)
CI = """
jobs:
  test:
    runs-on: ubuntu-latest
    services:
      echo:
        image: {image}
        ports: ["7007:7000"]
    steps:
      - uses: actions/checkout@v4
      - run: python3 -m unittest
"""
TEST = """
import pathlib, socket, unittest
from generated.words import GREETING
class Greets(unittest.TestCase):
    def test_set_up(self):
        self.assertEqual((GREETING, pathlib.Path("/opt/codexteam/made").read_text()), ("hello", "/work as 0\\n"))
        self.assertFalse(pathlib.Path("/run/secrets/TOKEN").exists())
    def test_service(self):
        for place in ("localhost", 7007), ("echo", 7000):
            with socket.create_connection(place, 10) as service:
                self.assertEqual(service.recv(9), b"here")
"""
PROGRAM = (
    "import socketserver as s; s.ThreadingTCPServer(('', 7000), type('H', (s.BaseRequestHandler,), "
    "{'handle': lambda self: self.request.sendall(b'here')})).serve_forever()"
)


def _play(call: Call) -> Played:
    match call.purpose:
        case "plan":
            only = task("T1", "Say it louder", paths=["loud.py", "test_loud.py"], check="")
            acceptance: JSONObject = {"criterion": "its test passes", "command": "python3 -m unittest test_loud"}
            plan: JSONObject = {
                "summary": "One module.",
                "tasks": [{**only, "acceptance": [acceptance]}],
                "later": [],
                "risks": [],
                "questions": [],
            }
            return [message(plan)]
        case "implement" if call.turn == 1:
            lines = (
                "printf 'from generated.words import GREETING\\nLOUD = GREETING.upper()\\n' >loud.py",
                "printf 'import unittest\\nfrom loud import LOUD\\nclass L(unittest.TestCase):\\n    def test(self):\\n"
                '        self.assertEqual(LOUD, "HELLO")\\n\' >test_loud.py',
                "python3 -m unittest && ! touch /opt/codexteam/x && ! touch /var/cache/codexteam/x",
            )
            return [run("\n".join(lines))]
        case "implement":
            return [report("It is louder.")]
        case _:
            return script.play(call)


def _told(world: World, kind: str) -> list[JSONObject]:
    return [line for line in world.events() if line["kind"] == kind]


def _listed(fact: JSONObject, name: str) -> list[JSONValue]:
    found = fact[name]
    assert isinstance(found, list)
    return found


@pytest.fixture
def world(make: MakeWorld) -> World:
    found, _ = make(TEAM, _play)
    root = found.repository
    found.git("rm", "-rqf", ".")
    (root / ".github/workflows").mkdir(parents=True, exist_ok=True)
    (root / ".github/workflows/ci.yml").write_text(CI.format(image=SERVICE))
    (root / "setup.sh").write_text(SETUP)
    (root / "test_greeting.py").write_text(TEST)
    (root / ".gitignore").write_text("generated/\n__pycache__/\n")
    found.git("add", "-A")
    found.git("commit", "-qm", "greet", "--no-verify")
    return found


def _ours(world: World, *command: str) -> list[str]:
    owner = f"label=codexteam.owner={world.state}"
    return subprocess.run(
        ["docker", *command, "-q", "--filter", owner], check=True, capture_output=True, text=True
    ).stdout.split()


def test_a_run_in_containers_has_what_was_set_up_and_its_services(world: World) -> None:
    client = docker.from_env()
    try:
        with built(client, f'FROM {SANDBOX_IMAGE}\nCMD ["python3", "-c", "{PROGRAM}"]', SERVICE):
            ended = world.run("run", "Say it louder.", TOKEN="canary-token")
            assert ended.code == 0, ended.out + ended.err
            ready = _told(world, "environment.ready")[0]
            assert ready["kept"] is False
            assert [str(notice).partition(" (")[0] for notice in _listed(ready, "notices")] == [
                "services begin empty in every sandbox"
            ]
            checked = {str(line["command"]): line["ending"] for line in _told(world, "baseline.checked")}
            assert checked["python3 -m unittest"] == "passed"
            assert {line["ending"] for line in _told(world, "gate.command")} == {"passed"}
            assert "canary-token" not in (world.run("events").out + ended.out + ended.err)
            assert _ours(world, "ps", "-a") == [], "neither sandboxes nor services are left"
            assert "generated" not in world.git("ls-tree", "-r", "--name-only", f"codexteam/{ready['run']}")
    finally:
        for image in _ours(world, "images"):
            client.images.remove(image, force=True)
        client.close()
