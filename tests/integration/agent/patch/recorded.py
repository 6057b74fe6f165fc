"""What the real program did, as data: read by the tests that run without it; `record.py` writes it."""

import base64
import json
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

from tests.integration.agent.patch.real_program import Outcome

#: The cases of the file, one a line.
FILE = Path(__file__).parents[3] / "data" / "patch" / "recorded.jsonl"

_Files: TypeAlias = dict[str, str | list[str]]


@dataclass(frozen=True, slots=True)
class RecordedCase:
    """Files and a patch, and what became of them."""

    name: str
    files: dict[str, bytes]
    patch: str
    outcome: Outcome


def load() -> list[RecordedCase]:
    """Read all recorded cases."""
    return [_decoded(json.loads(line)) for line in FILE.read_text(encoding="utf-8").splitlines()]


def save(cases: list[RecordedCase]) -> None:
    """Write all recorded cases."""
    lines = [json.dumps(_encoded(case), ensure_ascii=True, separators=(",", ":")) for case in cases]
    FILE.write_text("\n".join(lines) + "\n", encoding="utf-8")


def _encoded(case: RecordedCase) -> dict[str, object]:
    after = case.outcome.files
    return {
        "name": case.name,
        "files": _texts(case.files),
        "patch": case.patch,
        "accepted": case.outcome.accepted,
        "message": case.outcome.message,
        "written": _texts({path: data for path, data in after.items() if case.files.get(path) != data}),
        "gone": sorted(set(case.files) - set(after)),
    }


def _decoded(raw: dict[str, object]) -> RecordedCase:
    before, written, gone = raw["files"], raw["written"], raw["gone"]
    assert isinstance(before, dict)
    assert isinstance(written, dict)
    assert isinstance(gone, list)
    files = _bytes(before)
    after = {path: data for path, data in {**files, **_bytes(written)}.items() if path not in gone}
    outcome = Outcome(accepted=bool(raw["accepted"]), message=str(raw["message"]), files=after)
    return RecordedCase(str(raw["name"]), files, str(raw["patch"]), outcome)


def _texts(files: dict[str, bytes]) -> _Files:
    texts: _Files = {}
    for path, data in files.items():
        try:
            texts[path] = data.decode()
        except UnicodeDecodeError:
            texts[path] = [base64.b64encode(data).decode()]
    return texts


def _bytes(texts: _Files) -> dict[str, bytes]:
    return {path: text.encode() if isinstance(text, str) else base64.b64decode(text[0]) for path, text in texts.items()}
