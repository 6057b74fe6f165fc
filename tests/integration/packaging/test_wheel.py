"""The wheel, installed into an environment of its own, is the whole program."""

import os
import subprocess
import sys
import sysconfig
import zipfile
from pathlib import Path

import pytest

from codexteam import __version__
from codexteam.config.locations import BUNDLED_ROLES

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[3]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    subprocess.run([sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder)], cwd=ROOT, check=True)
    [built] = folder.glob("*.whl")
    return built


@pytest.fixture(scope="module")
def command(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The installed command. Dependencies come from the environment of the tests, so nothing is downloaded."""
    environment = tmp_path_factory.mktemp("environment")
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(environment)], check=True)
    python = environment / "bin" / "python"
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "--python", str(python)]
    subprocess.run([*pip, "install", "-q", "--no-deps", "--no-index", str(wheel)], check=True)
    [packages] = environment.glob("lib/python3*/site-packages")
    # the new environment's own folder stands before this one, so codexteam itself is the wheel's
    (packages / "dependencies.pth").write_text(sysconfig.get_path("purelib") + "\n")
    return environment / "bin" / "codexteam"


def run(command: Path, home: Path, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [str(command), *arguments],
        cwd=home,
        env={"PATH": os.environ["PATH"], "HOME": str(home), "COLUMNS": "80", **environment},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )


def test_the_wheel_carries_role_files_and_the_example(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        for name in BUNDLED_ROLES:
            assert archive.read(f"codexteam/_bundled/agents/{name}.toml") == (ROOT / f"agents/{name}.toml").read_bytes()
        example = archive.read("codexteam/_bundled/config.example.toml")
        assert example == (ROOT / "config.example.toml").read_bytes()
        names = archive.namelist()
    assert "codexteam/py.typed" in names
    assert any(name.endswith("licenses/LICENSE") for name in names)
    assert [name for name in names if not name.startswith(("codexteam/", f"codexteam-{__version__}"))] == []


def test_the_wheel_carries_the_demo_with_its_dotfiles(wheel: Path) -> None:
    files = [path for path in (ROOT / "codexteam/app/demo").rglob("*") if path.is_file()]
    expected = {path.relative_to(ROOT).as_posix(): path.read_bytes() for path in files if path.suffix != ".pyc"}
    with zipfile.ZipFile(wheel) as archive:
        carried = {name: archive.read(name) for name in archive.namelist() if name.startswith("codexteam/app/demo/")}
    assert carried == expected
    assert "codexteam/app/demo/sample/.github/workflows/ci.yml" in carried
    assert "codexteam/app/demo/recording.jsonl" in carried


def test_the_code_that_runs_is_the_wheel_s(command: Path, tmp_path: Path) -> None:
    done = subprocess.run(
        [str(command.with_name("python")), "-c", "import codexteam; print(codexteam.__file__)"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=True,
    )
    assert Path(done.stdout.strip()).is_relative_to(command.parents[1])


def test_version_and_help(command: Path, tmp_path: Path) -> None:
    version = run(command, tmp_path, "--version")
    shown = run(command, tmp_path, "--help")

    assert (version.returncode, version.stdout, version.stderr) == (0, f"codexteam {__version__}\n", "")
    assert (shown.returncode, shown.stderr) == (0, "")
    assert shown.stdout.startswith("Usage: codexteam")


def test_a_new_user_gets_ten_roles_without_any_configuration(command: Path, tmp_path: Path) -> None:
    done = run(command, tmp_path, "roles")

    assert (done.returncode, done.stderr) == (0, "")
    assert [line.split()[0] for line in done.stdout.splitlines()[1:11]] == list(BUNDLED_ROLES)


def test_a_new_user_gets_the_starter_pack_and_it_loads(command: Path, tmp_path: Path) -> None:
    assert run(command, tmp_path, "init", "--tier", "pro").returncode == 0
    done = run(command, tmp_path, "roles", "--strict-config")

    assert (done.returncode, done.stderr) == (0, "")
    assert "gpt-5.3-codex-spark" in done.stdout
    assert "built-in" not in done.stdout
