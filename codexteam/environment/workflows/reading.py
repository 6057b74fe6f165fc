"""One CI job, read: its steps before the tests, its tests, and what it needs beside them."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from codexteam.core.ids import JSONObject, JSONValue
from codexteam.core.text import clean_line
from codexteam.environment.documents import Documents, dig, mapping
from codexteam.environment.ecosystems.native import MAKEFILES, make_targets
from codexteam.environment.ecosystems.node import script_of
from codexteam.environment.expressions import (
    BadExpressionError,
    Scope,
    UnknownValueError,
    as_text,
    fill_in,
    fill_in_value,
    holds,
    is_true,
)
from codexteam.environment.plan import Ecosystem, Service
from codexteam.environment.workflows.actions import read_action
from codexteam.environment.workflows.command_lines import CommandKind, Line, is_test, read_line, read_script
from codexteam.environment.workflows.matrix import chosen_combination
from codexteam.environment.workflows.services import read_service

#: What runs a script where nothing is named, and the names that are known.
DEFAULT_SHELL = "bash -e {0}"
_SHELLS = {
    "bash": "bash --noprofile --norc -eo pipefail {0}",
    "sh": "sh -e {0}",
    "python": "python {0}",
}
#: A login shell reads profiles that are not there; the rest of the line counts.
_BASH = re.compile(r"^bash(?:\s+--?\w[\w-]*)*\s+\{0\}$")
_HANDED_ON = re.compile(r"""echo\s+["']?(\w+)=([^\n"']*?)["']?\s*>>\s*["']?\$\{?GITHUB_ENV\b""")
_MAX_DEPTH = 3
_MAX_STEPS = 200


@dataclass(frozen=True, slots=True)
class JobLine:
    """One command of a job, or a whole script that branches."""

    line: Line
    folder: str
    shell: str
    variables: Mapping[str, str]
    where: str
    """The step, for a person."""
    may_fail: bool = False


@dataclass(slots=True)
class JobReading:
    """What was found in a job."""

    source: str
    before: list[JobLine] = field(default_factory=list)
    """In order, up to the first tests."""
    tests: list[JobLine] = field(default_factory=list)
    services: list[Service] = field(default_factory=list)
    service_lines: list[JobLine] = field(default_factory=list)
    """Those before the tests that create or fill a database, in order."""
    packages: list[str] = field(default_factory=list)
    versions: dict[Ecosystem, str] = field(default_factory=dict)
    ecosystems: set[Ecosystem] = field(default_factory=set)
    variables: dict[str, str] = field(default_factory=dict)
    container: str = ""
    """The image that the job runs in."""
    takes_artifacts: bool = False
    """Whether it needs what another job made."""
    notices: list[str] = field(default_factory=list)
    """What was not understood, one line each."""

    @property
    def is_complete(self) -> bool:
        """Whether everything in it was understood."""
        return not self.notices


@dataclass(frozen=True, slots=True)
class _Around:
    """What counts for the steps of a job, or of an action in the tree."""

    scope: Scope
    defaults: Mapping[str, str]
    depth: int = 0


@dataclass(slots=True)
class JobReader:
    """Fills a reading from scripts, and from the steps of a workflow."""

    documents: Documents
    reading: JobReading
    steps: int = 0
    every_step: bool = False
    """Whether steps that run tests are set-up too: a job that only sets up has no tests."""

    def note(self, text: str) -> None:
        """Keep a line of what was not understood."""
        line = f"{self.reading.source}: {clean_line(text)}"
        if line not in self.reading.notices:
            self.reading.notices.append(line)

    def take(self, steps: JSONValue, around: _Around) -> None:
        """Read steps in order."""
        for index, step in enumerate(steps if isinstance(steps, list) else []):
            self.steps += 1
            if self.steps > _MAX_STEPS:
                self.note(f"it has more than {_MAX_STEPS} steps; the rest is not read")
                return
            if isinstance(step, dict):
                self._step(step, index, around)

    def _step(self, step: JSONObject, index: int, around: _Around) -> None:
        name = clean_line(as_text(step.get("name") or step.get("uses") or step.get("id") or ""))[:60]
        where = f"step {index + 1}{f' ({name})' if name and '${{' not in name else ''}"
        try:
            scope = around.scope
            scope = scope.with_values(env=self.environment(step.get("env"), scope))
            inside = replace(around, scope=scope)
            if not holds(step.get("if"), scope):
                return
            uses = step.get("uses")
            if isinstance(uses, str):
                self._action(uses, step, where, inside)
            elif isinstance(run := step.get("run"), str):
                self._run(run, step, where, inside)
        except UnknownValueError as error:
            # a step of no consequence is not worth a line
            if not self._is_aside(step):
                self.note(f"{where} is left out: {error} is known only to a run of the workflow")
        except BadExpressionError as error:
            self.note(f"{where} is left out: {error}")

    def _is_aside(self, step: JSONObject) -> bool:
        uses = step.get("uses")
        if isinstance(uses, str):
            facts = read_action(uses, {})
            return facts is not None and facts.aside
        run = step.get("run")
        lines = read_script(run) if isinstance(run, str) else None
        return lines is not None and all(line.kind is CommandKind.ASIDE for line in lines)

    def environment(self, value: JSONValue, scope: Scope) -> JSONObject:
        """Return the variables that a step sees; one that cannot be known is left out."""
        found: JSONObject = dict(mapping(scope.contexts.get("env")))
        for key, text in mapping(value).items():
            try:
                found[key] = as_text(fill_in_value(text, scope))
            except (UnknownValueError, BadExpressionError):
                continue
        return found

    def _action(self, uses: str, step: JSONObject, where: str, around: _Around) -> None:
        inputs: JSONObject = {}
        for key, value in mapping(step.get("with")).items():
            try:
                inputs[key] = fill_in_value(value, around.scope)
            except (UnknownValueError, BadExpressionError):
                continue
        if uses.startswith("./"):
            self._local_action(uses, inputs, where, around)
            return
        if uses.startswith("docker://"):
            self.note(f"{where}: {uses[:80]} is not run")
            return
        facts = read_action(uses, inputs)
        if facts is None:
            self.note(f"{where}: the action {uses.partition('@')[0][:80]} is not known, so it is left out")
            return
        self.reading.takes_artifacts |= uses.startswith("actions/download-artifact")
        self.reading.packages += facts.packages
        if facts.ecosystem is not None:
            self.reading.ecosystems.add(facts.ecosystem)
            if facts.version and facts.ecosystem not in self.reading.versions:
                self.reading.versions[facts.ecosystem] = facts.version

    def _local_action(self, uses: str, inputs: JSONObject, where: str, around: _Around) -> None:
        folder = uses.removeprefix("./").rstrip("/")
        path = self.documents.first(folder, ("action.yml", "action.yaml"))
        if path is None or around.depth >= _MAX_DEPTH:
            self.note(f"{where}: there is no {folder}/action.yml")
            return
        action = self.documents.yaml(path)
        if dig(action, "runs", "using") != "composite":
            self.note(f"{where}: {path} is not made of steps, so it is left out")
            return
        given: JSONObject = {key: dig(value, "default") for key, value in mapping(action.get("inputs")).items()}
        scope = around.scope.with_values(inputs={**given, **inputs})
        self.take(dig(action, "runs", "steps"), _Around(scope, around.defaults, around.depth + 1))

    def _run(self, run: str, step: JSONObject, where: str, around: _Around) -> None:
        scope, defaults = around.scope, around.defaults
        shell = as_text(step.get("shell")) or defaults.get("shell", "")
        template = _SHELLS.get(shell) or (DEFAULT_SHELL if not shell else shell if _BASH.match(shell) else "")
        if not template:
            self.note(f"{where} is left out: it is for the shell {shell[:40]!r}")
            return
        folder = fill_in(as_text(step.get("working-directory")) or defaults.get("working-directory", ""), scope)
        folder = working_folder(folder)
        script = fill_in(run, scope)
        may_fail = step.get("continue-on-error") is True
        variables = {key: as_text(value) for key, value in mapping(scope.contexts.get("env")).items()}
        own = {key: value for key, value in variables.items() if self.reading.variables.get(key) != value}
        self.script(JobLine(Line(script, CommandKind.OTHER), folder, template, own, where, may_fail), unfilled=run)

    def script(self, whole: JobLine, *, unfilled: str = "") -> None:
        """Read the lines of a script; one that branches, or is for another interpreter, is one line."""
        script = whole.line.text
        lines = read_script(script) if whole.shell != _SHELLS["python"] else None
        if lines is None:
            lines = [_whole(script, unfilled or script)]
        elif self.every_step:
            self.reading.service_lines += [
                replace(whole, line=line) for line in lines if line.kind is CommandKind.SERVICE
            ]
            kept = "\n".join(line.text for line in lines if line.kind not in {CommandKind.PACKAGES, CommandKind.ASIDE})
            lines = [line for line in lines if line.kind is CommandKind.PACKAGES]
            lines += [Line(kept, CommandKind.OTHER)] if kept else []
        self._exported(script)
        for line in lines:
            self._line(replace(whole, line=leads_to_tests(self.documents, whole.folder, line)))

    def _exported(self, script: str) -> None:
        """Keep the variables that a script hands on to later steps, where their values stand in it."""
        for name, value in _HANDED_ON.findall(script):
            if not re.search(r"[$`\\]", value):
                self.reading.variables[name] = value.strip()

    def _line(self, line: JobLine) -> None:
        reading = self.reading
        match line.line.kind:
            case CommandKind.TEST:
                reading.tests.append(line)
            case CommandKind.PACKAGES:
                reading.packages += [name for name in line.line.packages if name not in reading.packages]
            case CommandKind.ASIDE:
                return
            case CommandKind.BACKGROUND:
                self.note(f"{line.where}: {line.line.text[:80]!r} is left out: nothing keeps running after a set-up")
            case CommandKind.SERVICE if not reading.tests:
                reading.service_lines.append(line)
                reading.before.append(line)
            case _ if reading.tests:
                return  # what comes after the tests sets nothing up for them
            case _:
                reading.before.append(line)


def _whole(script: str, run: str) -> Line:
    """Return a script that branches as one line; where one of its lines runs tests, it is tests."""
    kinds = [read_line(text.strip()).kind for text in script.splitlines() if text.strip()]
    if CommandKind.TEST in kinds:
        return Line(script, CommandKind.TEST, indirect=True)
    flow = re.compile(r"^(?:if|then|else|elif|fi|for|do|done|case|esac|while|;;|\}|\{|EOF)\b")
    plain = [text.strip() for text in run.splitlines() if text.strip()]
    aside = all(kind is CommandKind.ASIDE or flow.match(text) for kind, text in zip(kinds, plain, strict=False))
    return Line(script, CommandKind.ASIDE if aside else CommandKind.OTHER)


def working_folder(text: str) -> str:
    """Return a working directory relative to the repository; that of the workspace is its root."""
    parts = [part for part in text.replace("/github/workspace", "").split("/") if part not in {"", "."}]
    return "/".join(parts) if ".." not in parts else ""


def read_job(
    documents: Documents,
    path: str,
    name: str,
    wanted: Mapping[str, str],
    inputs: JSONObject | None = None,
    *,
    every_step: bool = False,
) -> JobReading:
    """Read a job of a workflow file.

    Args:
        documents: the repository's files.
        path: the workflow.
        name: the job's key in it.
        wanted: by language, the version that the project's own files ask for.
        inputs: what a workflow that calls this one gives it.
        every_step: read all steps as set-up.
    """
    workflow = documents.yaml(path)
    job = mapping(mapping(workflow.get("jobs")).get(name))
    reading = JobReading(f"{path} job {clean_line(name)}")
    reader = JobReader(documents, reading, every_step=every_step)
    given = {**_default_inputs(workflow), **(inputs or {})}
    scope = Scope(
        {
            "runner": {"os": "Linux", "arch": "X64", "temp": "/tmp", "tool_cache": "/opt/hostedtoolcache"},  # noqa: S108
            "github": {
                "workspace": "/github/workspace",
                "event_name": "push",
                "ref": "refs/heads/main",
                "ref_name": "main",
                "repository": "owner/repository",
                "repository_owner": "owner",
                "actor": "owner",
                "job": name,
                "event": {},
                "workflow": as_text(workflow.get("name")),
            },
            "inputs": given,
            "env": {},
            "matrix": {},
            "strategy": {"job-index": 0.0, "job-total": 1.0, "fail-fast": True, "max-parallel": 1.0},
        }
    )
    try:
        matrix = chosen_combination(dig(job, "strategy", "matrix"), scope, wanted)
    except (UnknownValueError, BadExpressionError) as error:
        reader.note(f"its matrix is left out: {error} is known only to a run of the workflow")
        matrix = {}
        scope = Scope({key: value for key, value in scope.contexts.items() if key != "matrix"})
    else:
        scope = scope.with_values(matrix=matrix)
    for value in (workflow.get("env"), job.get("env")):
        scope = scope.with_values(env=reader.environment(value, scope))
    reading.variables = {key: as_text(value) for key, value in mapping(scope.contexts["env"]).items()}
    defaults: dict[str, str] = {}
    for value in (workflow, job):
        for key, text in mapping(dig(value, "defaults", "run")).items():
            try:
                defaults[key] = as_text(fill_in_value(text, scope))
            except (UnknownValueError, BadExpressionError):
                reader.note(f"its default for {clean_line(key)} is left out")
    _beside(reader, job, scope)
    reader.take(job.get("steps"), _Around(scope, defaults))
    return reading


def _default_inputs(workflow: JSONObject) -> JSONObject:
    found: JSONObject = {}
    for trigger in ("workflow_dispatch", "workflow_call"):
        for key, value in mapping(dig(workflow, "on", trigger, "inputs")).items():
            found[key] = dig(value, "default")
    return found


def _beside(reader: JobReader, job: JSONObject, scope: Scope) -> None:
    """Read a job's container and services."""
    container = job.get("container")
    image = container if isinstance(container, str) else mapping(container).get("image")
    if isinstance(image, str):
        try:
            reader.reading.container = fill_in(image, scope)
        except (UnknownValueError, BadExpressionError) as error:
            reader.note(f"its container is left out: {error}")
    for name, value in mapping(job.get("services")).items():
        try:
            filled = _all_filled(value, scope)
        except (UnknownValueError, BadExpressionError) as error:
            reader.note(f"service {name} is left out: {error} is known only to a run of the workflow")
            continue
        service = read_service(name, mapping(filled), reader.reading.source, reader.reading.notices)
        if service is not None:
            reader.reading.services.append(service)


def _all_filled(value: JSONValue, scope: Scope) -> JSONValue:
    if isinstance(value, dict):
        return {key: _all_filled(each, scope) for key, each in value.items()}
    if isinstance(value, list):
        return [_all_filled(each, scope) for each in value]
    return fill_in_value(value, scope)


def leads_to_tests(documents: Documents, folder: str, line: Line) -> Line:
    """Return a line as one that runs tests where the target or script that it calls does, one level down."""
    if line.kind is not CommandKind.OTHER:
        return line
    found = re.match(r"^(?:\w+=\S*\s+)*make\s+(?:-\S+\s+)*([\w.-]+)\s*$", line.text)
    if found is not None:
        path = documents.first(folder, MAKEFILES)
        script = make_targets(documents.text(path)).get(found[1], "") if path is not None else ""
    else:
        script = script_of(documents, folder, line.text)
    parts = [part for text in script.splitlines() for part in re.split(r"\s*&&\s*|\s*;\s*", text)]
    return replace(line, kind=CommandKind.TEST, indirect=True) if any(is_test(part) for part in parts if part) else line


def is_off(job: JSONObject) -> bool:
    """Return whether a job never runs."""
    condition = job.get("if")
    return condition is not None and not isinstance(condition, str) and not is_true(condition)
