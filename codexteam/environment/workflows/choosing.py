"""Which job of a repository's workflows runs its tests."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from codexteam.core.ids import JSONObject, JSONValue
from codexteam.core.text import clean_line
from codexteam.environment.documents import Documents, dig, mapping, strings, texts_below
from codexteam.environment.expressions import as_text
from codexteam.environment.workflows.reading import JobReading, is_off, read_job

FOLDER = ".github/workflows"
COPILOT = "copilot-setup-steps"
_GOOD = re.compile(r"\b(?:tests?|testing|ci|unit|build|check|pytest|python|node|main|continuous)\b")
_BAD = re.compile(
    r"\blint|docs?\b|documentation|release|publish|deploy|codeql|bench|nightly|windows|macos|\bmac\b|wheels?|coverage report"
    r"|style|format|typing|type ?check|mypy|audit|security|scorecard|stale|labeler|label|pre ?commit|fuzz|e2e|smoke|canary"
    r"|downstream|upstream|integration|minim|lowest|oldest|msrv|min version|published|dist\b|32 ?bit|pypy|\barm|wasm"
    r"|legacy|pyodide|i686|musl|cross|mingw|msvc|bsd|android|\bios\b"
)
_MAX_WORKFLOWS = 60
#: Below it a job is for something else, whatever tests it runs: nightly, in a browser, of another system.
_LEAST_SCORE = 1


@dataclass(frozen=True, slots=True)
class ChosenJob:
    """The job that counts, and the others that came near."""

    reading: JobReading
    why: str


@dataclass(frozen=True, slots=True)
class _Candidate:
    path: str
    name: str
    score: int
    inputs: JSONObject
    calls: str = ""
    """The workflow file where the job stands, when another one calls it."""


def chosen_job(documents: Documents, wanted: Mapping[str, str]) -> ChosenJob | None:
    """Return the job that runs the tests; None where none does.

    Args:
        documents: the repository's files.
        wanted: by language, the version that the project's own files ask for.
    """
    candidates = [each for path in _workflows(documents) for each in _candidates(documents, path)]
    best: tuple[tuple[int, int, int], JobReading] | None = None
    for index, candidate in enumerate(sorted(candidates, key=lambda each: -each.score)[:20]):
        reading = read_job(documents, candidate.calls or candidate.path, candidate.name, wanted, candidate.inputs)
        if not reading.tests:
            continue
        # one that needs less is better than one that is only named better
        score = candidate.score - 2 * len(reading.services) - min(len(reading.notices), 2)
        score -= 6 if reading.takes_artifacts else 0
        score -= 2 if reading.tests[0].folder else 0
        score -= 1 if reading.tests[0].line.indirect else 0
        if score < _LEAST_SCORE:
            continue
        key = (-score, len(reading.services), index)
        if best is None or key < best[0]:
            best = key, reading
    if best is None:
        return None
    count = len(candidates)
    others = f", of {count} jobs" if count > 1 else ""
    return ChosenJob(best[1], f"it runs {clean_line(best[1].tests[0].line.text.splitlines()[0])[:80]!r}{others}")


def copilot_steps(documents: Documents, wanted: Mapping[str, str]) -> JobReading | None:
    """Return the one job of `copilot-setup-steps.yml`; None where there is no such file or job."""
    for suffix in ("yml", "yaml"):
        path = f"{FOLDER}/{COPILOT}.{suffix}"
        if not documents.has(path):
            continue
        jobs = mapping(documents.yaml(path).get("jobs"))
        if COPILOT in jobs:
            return read_job(documents, path, COPILOT, wanted, every_step=True)
        if jobs:
            documents.say(f"{path} has no job named {COPILOT}, so it is not used")
    return None


def _workflows(documents: Documents) -> list[str]:
    found = [path for path in documents.view.below(FOLDER, ".yml", ".yaml") if path.count("/") == 2]
    return [path for path in found if COPILOT not in path][:_MAX_WORKFLOWS]


def _candidates(documents: Documents, path: str) -> Iterator[_Candidate]:
    workflow = documents.yaml(path)
    base = _trigger_score(workflow.get("on"))
    if base is None:
        return
    name = f"{path.rpartition('/')[2].rpartition('.')[0]} {as_text(workflow.get('name'))}".lower()
    for key, value in mapping(workflow.get("jobs")).items():
        job = mapping(value)
        if is_off(job):
            continue
        score = (
            base + name_score(name) // 2 + name_score(f"{key} {as_text(job.get('name'))}".lower()) + _system_score(job)
        )
        uses = job.get("uses")
        if isinstance(uses, str) and uses.startswith("./") and documents.has(called := uses.removeprefix("./")):
            inputs = {each: text for each, text in mapping(job.get("with")).items() if "${{" not in as_text(text)}
            for inner in mapping(documents.yaml(called).get("jobs")):
                yield _Candidate(path, inner, score + name_score(inner.lower()), inputs, called)
        elif job.get("steps"):
            outputs = any("needs." in text for text in texts_below([job.get("steps"), job.get("env")]))
            yield _Candidate(path, key, score - (3 if outputs else 0) - (3 if job.get("needs") else 0), {})


def _trigger_score(triggers: JSONValue) -> int | None:
    """Return how well a workflow's triggers fit; None for one that only others call."""
    names = set(strings(triggers)) or set(mapping(triggers))
    if names and names <= {"workflow_call"}:
        return None
    if names & {"push", "pull_request", "pull_request_target", "merge_group"}:
        tags_only = not (names - {"push"}) and set(mapping(dig(triggers, "push"))) == {"tags"}
        return -6 if tags_only else 4
    return -4


def name_score(name: str) -> int:
    """Return how much a name says of tests; what an expression would make of it does not count."""
    plain = re.sub(r"[-_]", " ", re.sub(r"\$\{\{.*?\}\}", "", name, flags=re.DOTALL))
    plain = plain.replace("continuous integration", "ci")
    return (4 if _GOOD.search(plain) else 0) - (6 if _BAD.search(plain) else 0)


def _system_score(job: JSONObject) -> int:
    runs_on = job.get("runs-on")
    text = " ".join(texts_below([runs_on, dig(job, "strategy", "matrix")])).lower()
    if re.search(r"ubuntu|linux", text) or not text:
        return 2
    return -30 if re.search(r"windows|macos", text) else 0
