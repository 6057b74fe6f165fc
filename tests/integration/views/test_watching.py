"""`codexteam watch` on a real terminal, with real keys, on a run that a process left behind."""

import sys
from collections.abc import Iterator

import pytest

from tests.integration.views.conftest import Cli, Project, approval_world, green_world, waiting_world
from tests.support_terminal import Terminal

RUN = "20261118-1106-aaaa"


@pytest.fixture
def terminal(project: Project) -> Iterator[Terminal]:
    shell = Terminal(project.root)
    yield shell
    shell.close()


def test_a_plan_is_approved_with_keys_and_the_terminal_is_left_as_it_was(
    project: Project, terminal: Terminal, cli: Cli
) -> None:
    project.record(RUN, (world := approval_world()).history, state="waiting", rules=world.state.rules)
    terminal.type(f"{sys.executable} -m codexteam watch {RUN}\n")

    terminal.until(b"waits for you")
    terminal.type("a")
    terminal.until(b"y approves")
    terminal.type("y\r")
    terminal.until(b"approved")
    terminal.type("l")
    terminal.until(b"log")
    terminal.type("q")
    terminal.until(b"enter open")
    terminal.type("q")
    terminal.until(b"\x1b[?1049l")
    terminal.type("echo left=$?; stty -a\n")
    terminal.until(b"left=0")
    assert b"-echo " not in terminal.until(b"echoke")

    assert not project.stored_state(RUN).holds
    assert cli("inbox").err == "nothing waits for you\n"


@pytest.mark.bubblewrap
def test_all_runs_are_listed_and_opened(project: Project, terminal: Terminal) -> None:
    project.record(RUN, waiting_world().history, state="waiting")
    project.record("20261118-1107-bbbb", green_world("T1").history, state="green", at=1_700_000_100.0)
    # in a PID namespace of its own, where no run of another test is at work
    alone = "bwrap --bind / / --dev-bind /dev /dev --unshare-pid --proc /proc --"
    terminal.type(f"{alone} {sys.executable} -m codexteam watch\n")

    assert b"green" in terminal.until(b"enter open the run")
    terminal.type("\x1b[F\x1b[A\r")  # the last but one: runs at work elsewhere on this machine come first
    terminal.until(b"waits for you")
    terminal.type("q")
    terminal.until(b"enter open the run")
    terminal.type("\x03")
    terminal.until(b"\x1b[?1049l")


def test_without_a_terminal_watch_says_what_to_use_instead(project: Project, cli: Cli) -> None:
    project.record(RUN, [], state="waiting")

    done = cli("watch", RUN)

    assert done.code == 2
    assert "codexteam logs -f prints lines" in done.err
