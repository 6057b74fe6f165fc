"""Asks the real program again about every recorded case and writes down what it does now.

    python -m tests.integration.agent.patch.record [FIRST_SEED LAST_SEED]

With seeds, the generated cases of those are recorded as well.
"""

import sys
import tempfile
from pathlib import Path

from tests.integration.agent.patch.generator import make_case
from tests.integration.agent.patch.real_program import native_binary, run_real
from tests.integration.agent.patch.recorded import RecordedCase, load, save


def main() -> None:
    """Record."""
    binary = native_binary()
    if binary is None:
        raise SystemExit("the Codex CLI is not installed (npm install @openai/codex, or CODEXTEAM_TEST_CODEX_BINARY)")
    cases = {case.name: (case.files, case.patch) for case in load()}
    if len(sys.argv) == 3:
        for seed in range(int(sys.argv[1]), int(sys.argv[2])):
            case = make_case(seed)
            cases[case.name] = (case.files, case.patch)
    with tempfile.TemporaryDirectory() as folder:
        program = Path(folder) / "apply_patch"
        program.symlink_to(binary)
        save(
            [
                RecordedCase(name, files, patch, run_real(program, files, patch))
                for name, (files, patch) in cases.items()
            ]
        )


if __name__ == "__main__":
    main()
