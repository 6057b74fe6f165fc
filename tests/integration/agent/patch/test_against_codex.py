"""The patch format held to the real program: same acceptance, same messages, same bytes on disk."""

import os
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.integration.agent.patch.generator import Case, make_case
from tests.integration.agent.patch.ours import run_ours
from tests.integration.agent.patch.real_program import Outcome, native_binary, run_real
from tests.integration.agent.patch.recorded import RecordedCase, load

#: About ten milliseconds each; CODEXTEAM_TEST_PATCH_CASES asks for more.
_CASES = int(os.environ.get("CODEXTEAM_TEST_PATCH_CASES", "600"))

pytestmark = [pytest.mark.codex, pytest.mark.timeout(60 + _CASES // 20)]


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Codex's binary under the name that makes it `apply_patch`."""
    binary = native_binary()
    assert binary is not None, "the Codex CLI is there, but its native binary was not found beside it"
    link = tmp_path_factory.mktemp("bin") / "apply_patch"
    link.symlink_to(binary)
    return link


def _run_all(program: Path, cases: Sequence[Case | RecordedCase]) -> Iterator[Outcome]:
    with ThreadPoolExecutor(4) as pool:
        yield from pool.map(lambda case: run_real(program, case.files, case.patch), cases)


def test_generated_patches_end_as_in_codex(program: Path) -> None:
    cases = [make_case(seed) for seed in range(_CASES)]
    accepted = 0
    for case, real in zip(cases, _run_all(program, cases), strict=True):
        assert run_ours(case.files, case.patch) == real, case
        accepted += real.accepted
    # a generator that makes only good or only bad patches would prove little
    assert _CASES * 0.3 < accepted < _CASES * 0.7


def test_recorded_outcomes_are_still_those_of_codex(program: Path) -> None:
    cases = load()
    for case, real in zip(cases, _run_all(program, cases), strict=True):
        assert real == case.outcome, case.name


@pytest.mark.parametrize("path", ["../outside.txt", "x/../../outside.txt"])
def test_codex_leaves_its_folder_and_we_do_not(program: Path, tmp_path: Path, path: str) -> None:
    patch = f"*** Begin Patch\n*** Add File: {path}\n+x\n*** End Patch\n"
    ours = run_ours({}, patch)
    assert not ours.accepted
    assert "outside the workspace" in ours.message
    assert ours.files == {}
