"""Options and fixtures that every kind of test may use."""

import gc
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

from tests import support_ray
from tests.examples import COMPLETE_EXAMPLES, QUICK_EXAMPLES

# compiled once and kept, whatever the environment says: every worker imports all tests, and many of them start commands
sys.dont_write_bytecode = False
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)

#: A property is not about time: what takes long on a busy machine, or is slow to make up, is right all the same. What is
#: tried is the same each time; new inputs are what the fuzz targets are for.
for _name, _examples in (("quick", QUICK_EXAMPLES), ("complete", COMPLETE_EXAMPLES)):
    settings.register_profile(
        _name,
        max_examples=_examples,
        deadline=None,
        derandomize=True,
        database=None,
        suppress_health_check=[HealthCheck.too_slow],
    )

#: Marks of tests that need more than this package and git, or that take long: not part of `-m "not slow"`.
_SLOW = ("complete", "docker", "codex", "litellm", "ray")

#: What a marked test needs, and whether it is there.
_CHOICES = ("auto", "require", "off")


# a sixth of what it takes to import and collect all tests was spent on looking for garbage among what is kept
gc.disable()


def pytest_collection_finish(session: pytest.Session) -> None:
    """Look for garbage again, but never more among the tests themselves and what they have imported."""
    gc.freeze()
    gc.enable()


def pytest_configure(config: pytest.Config) -> None:
    settings.load_profile("complete" if config.getoption("--complete") else "quick")
    if hasattr(config.option, "loadscopereorder"):  # files are handed to workers in the order of `_longest_first`
        config.option.loadscopereorder = False
    # who starts the tests in the background may have them ignore these, and all that they start with them
    for number in (signal.SIGINT, signal.SIGHUP):
        if signal.getsignal(number) is signal.SIG_IGN:
            signal.signal(number, signal.default_int_handler if number == signal.SIGINT else signal.SIG_DFL)


@pytest.hookimpl(optionalhook=True)  # without xdist there is no such hook
def pytest_xdist_auto_num_workers() -> int:
    """Start two workers per core with `-n auto`: tests of sandboxes, servers and git wait about as long as they compute."""
    return 2 * (os.cpu_count() or 1)


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--complete",
        action="store_true",
        help="what .ci/run runs: also the tests marked `complete`, and five times the inputs of each property",
    )
    for name, what in (
        ("docker", "a Docker engine"),
        ("bubblewrap", "a working bwrap"),
        ("codex", "the Codex CLI"),
        ("litellm", "the LiteLLM proxy"),
        ("ray", "Ray"),
    ):
        parser.addoption(
            f"--{name}",
            choices=_CHOICES,
            default=os.environ.get(f"CODEXTEAM_TEST_{name.upper()}", "auto"),
            help=f"tests that need {what}: skip when it is missing (auto), fail (require), never run (off)",
        )


def _docker_problem() -> str:
    import docker
    from docker.errors import DockerException

    try:
        client = docker.from_env(timeout=5)
        try:
            client.ping()
            image = os.environ.get("CODEXTEAM_TEST_SANDBOX_IMAGE", "codexteam-sandbox:test")
            if not client.images.list(name=image):
                return f"there is no image {image}: python .ci/sandbox_image.py makes it"
        finally:
            client.close()
    except DockerException as error:
        return f"no Docker engine answers: {error}"
    return ""


def _bubblewrap_problem() -> str:
    bwrap = shutil.which("bwrap")
    if bwrap is None:
        return "bwrap is not installed"
    done = subprocess.run([bwrap, "--unshare-all", "--ro-bind", "/", "/", "true"], capture_output=True, check=False)
    return "" if done.returncode == 0 else f"bwrap does not work: {done.stderr.decode(errors='replace').strip()}"


def _codex_problem() -> str:
    return (
        ""
        if codex_binary()
        else "the Codex CLI is not installed (npm install @openai/codex, or CODEXTEAM_TEST_CODEX_BINARY)"
    )


def codex_binary() -> str | None:
    """The real Codex CLI, where one is installed."""
    return os.environ.get("CODEXTEAM_TEST_CODEX_BINARY") or shutil.which("codex")


def _litellm_problem() -> str:
    if os.environ.get("CODEXTEAM_TEST_LITELLM_BINARY") or shutil.which("litellm"):
        return ""
    return "LiteLLM is not installed (litellm[proxy] in a virtual environment, and CODEXTEAM_TEST_LITELLM_BINARY)"


_PROBLEMS = {
    "docker": _docker_problem,
    "bubblewrap": _bubblewrap_problem,
    "codex": _codex_problem,
    "litellm": _litellm_problem,
    "ray": support_ray.problem,
}


def _longest_first(items: list[pytest.Item], slow: set[Path]) -> None:
    """Put files with slow tests first: a long one that comes last keeps one worker busy and the others waiting."""
    items.sort(key=lambda item: item.path not in slow)


@pytest.hookimpl(tryfirst=True)  # before `-m` looks at the marks
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    marks = {item: {mark.name for mark in item.iter_markers()} for item in items}
    if not config.getoption("--complete"):
        left_out = [item for item in items if "complete" in marks[item]]
        items[:] = [item for item in items if "complete" not in marks[item]]
        config.hook.pytest_deselected(items=left_out)
    for item in items:
        if not marks[item].isdisjoint(_SLOW):
            item.add_marker(pytest.mark.slow)
            marks[item].add("slow")
    if hasattr(config, "workerinput"):  # by hand, the quick ones tell first
        _longest_first(items, {item.path for item in items if "slow" in marks[item]})
    for name, problem_of in _PROBLEMS.items():
        marked = [item for item in items if name in marks[item]]
        choice = config.getoption(f"--{name}")
        if not marked or choice == "require":
            continue
        reason = f"--{name}=off" if choice == "off" else problem_of()
        if reason:
            for item in marked:
                item.add_marker(pytest.mark.skip(reason=reason))


@pytest.fixture(autouse=True, scope="session")
def _git_environment(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Git in tests has a home, an identity and a default branch of its own."""
    home = tmp_path_factory.mktemp("home")
    (home / ".gitconfig").write_text(
        "[user]\n\tname = Test User\n\temail = user@example.org\n"
        "[init]\n\tdefaultBranch = main\n[commit]\n\tgpgsign = false\n"
    )
    patch = pytest.MonkeyPatch()
    patch.setenv("HOME", str(home))
    patch.setenv("GIT_CONFIG_GLOBAL", str(home / ".gitconfig"))
    patch.setenv("GIT_CONFIG_NOSYSTEM", "1")
    for name in (
        "GIT_DIR",
        "GIT_WORK_TREE",
        "GIT_INDEX_FILE",
        "CODEX_HOME",
        "OPENAI_API_KEY",
        "CODEX_API_KEY",
        "NO_COLOR",
        "FORCE_COLOR",
    ):
        patch.delenv(name, raising=False)
    yield
    patch.undo()


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    """A small user repository with one commit."""
    root = tmp_path / "repository"
    root.mkdir()
    (root / "README.md").write_text("# sample\n")
    for argv in (["init", "-q"], ["add", "."], ["commit", "-qm", "first"]):
        subprocess.run(["git", *argv], cwd=root, check=True)
    return root
