"""What the real program did, from a recording."""

from tests.integration.agent.patch.ours import run_ours
from tests.integration.agent.patch.recorded import load


def test_every_recorded_patch_ends_as_in_codex() -> None:
    cases = load()
    assert len(cases) > 400
    for case in cases:
        assert run_ours(case.files, case.patch) == case.outcome, case.name
