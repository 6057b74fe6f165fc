"""CI files of other services than GitHub: GitLab, Travis and CircleCI are read, the rest is named.

They count where no workflow of GitHub's runs the tests. What such a file takes from elsewhere (templates of other
repositories, orbs) is not fetched; a line says so.
"""

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

from codexteam.core.ids import JSONObject, JSONValue
from codexteam.core.text import clean_line
from codexteam.environment.documents import Documents, dig, mapping, strings
from codexteam.environment.expressions import as_text
from codexteam.environment.workflows.choosing import ChosenJob, name_score
from codexteam.environment.workflows.command_lines import CommandKind, Line
from codexteam.environment.workflows.reading import DEFAULT_SHELL, JobLine, JobReader, JobReading, working_folder
from codexteam.environment.workflows.services import read_service

GITLAB = ".gitlab-ci.yml"
TRAVIS = ".travis.yml"
CIRCLE = ".circleci/config.yml"
#: Files of services that are not read.
NOT_READ = (
    *(
        "azure-pipelines.yml",
        ".azure-pipelines.yml",
        ".azure-pipelines/azure-pipelines.yml",
        ".cirrus.yml",
        "appveyor.yml",
    ),
    *(
        ".appveyor.yml",
        "Jenkinsfile",
        ".drone.yml",
        ".woodpecker.yml",
        ".buildkite/pipeline.yml",
        "bitbucket-pipelines.yml",
    ),
    *(".semaphore/semaphore.yml", ".build.yml"),
)
_GITLAB_KEYS = frozenset(
    (
        "stages",
        "variables",
        "default",
        "include",
        "workflow",
        "image",
        "services",
        "before_script",
        "after_script",
        "cache",
    )
)
_MAX_JOBS = 100
_MAX_DEPTH = 8


def job_elsewhere(documents: Documents) -> ChosenJob | None:
    """Return the job of another service's file that runs the tests; None where none does."""
    best: tuple[int, JobReading] | None = None
    for read in (_gitlab, _circle, _travis):
        for score, reading in read(documents):
            if reading.tests and (best is None or score > best[0]):
                best = score, reading
        if best is not None:
            break
    if best is None:
        return None
    reading = best[1]
    return ChosenJob(reading, f"it runs {clean_line(reading.tests[0].line.text.splitlines()[0])[:80]!r}")


def unread_files(documents: Documents) -> list[str]:
    """Return the files of services that are not read."""
    return [path for path in NOT_READ if documents.has(path)]


@dataclass(frozen=True, slots=True)
class _Job:
    """A job's scripts in the order in which they run, and what is beside them."""

    name: str
    scripts: tuple[tuple[str, str, str, Mapping[str, str]], ...]
    """(where, script, folder, variables)."""
    variables: Mapping[str, str]
    image: str = ""
    services: tuple[tuple[str, JSONObject], ...] = ()
    notices: tuple[str, ...] = ()


def _reading(documents: Documents, path: str, job: _Job) -> JobReading:
    reading = JobReading(f"{path} job {clean_line(job.name)}" if job.name else path, variables=dict(job.variables))
    reading.container = _filled(job.image, job.variables)
    reader = JobReader(documents, reading)
    for notice in job.notices:
        reader.note(notice)
    for where, script, folder, variables in job.scripts:
        own = {name: value for name, value in variables.items() if job.variables.get(name) != value}
        reader.script(
            JobLine(
                Line(script, CommandKind.OTHER), working_folder(folder), DEFAULT_SHELL, {**job.variables, **own}, where
            )
        )
    for name, found in job.services:
        image = _filled(as_text(found.get("image")), job.variables)
        service = read_service(name, {**found, "image": image}, reading.source, reading.notices)
        if service is not None:
            reading.services.append(service)
    return reading


def _filled(text: str, variables: Mapping[str, str]) -> str:
    """Return a text with its variables; empty where one of them is not known."""
    filled = re.sub(r"\$\{?(\w+)\}?", lambda match: variables.get(match[1], match[0]), text)
    return "" if "$" in filled else filled


def _texts(value: JSONValue) -> dict[str, str]:
    """Return variables; GitLab's may stand beside a description."""
    return {
        name: as_text(each.get("value") if isinstance(each, dict) else each)
        for name, each in mapping(value).items()
        if re.fullmatch(r"\w+", name)
    }


# GitLab


def _gitlab(documents: Documents) -> Iterator[tuple[int, JobReading]]:
    if not documents.has(GITLAB):
        return
    notices: list[str] = []
    whole = _gitlab_document(documents, notices)
    jobs = [
        name
        for name, value in whole.items()
        if name not in _GITLAB_KEYS and not name.startswith(".") and isinstance(value, dict)
    ]
    for name in jobs[:_MAX_JOBS]:
        job = _extended(whole, name, 0)
        score = name_score(f"{name} {as_text(job.get('stage'))}".lower()) - (4 if job.get("when") == "manual" else 0)
        score -= 6 if set(strings(dig(job, "only"))) & {"tags", "schedules"} else 0
        yield score, _reading(documents, GITLAB, _gitlab_job(whole, name, job, notices))


def _gitlab_document(documents: Documents, notices: list[str]) -> JSONObject:
    whole = documents.yaml(GITLAB)
    included = whole.get("include")
    for each in included if isinstance(included, list) else [included]:
        local = each if isinstance(each, str) else dig(each, "local")
        if isinstance(local, str) and documents.has(path := local.lstrip("/")):
            whole = {**documents.yaml(path), **whole}
        elif each is not None:
            notices.append("what it includes from elsewhere is not read")
    return whole


def _extended(whole: JSONObject, name: str, depth: int) -> JSONObject:
    """Return a job with what it extends."""
    job = mapping(whole.get(name))
    found: JSONObject = {}
    for base in strings(job.get("extends")) if depth < _MAX_DEPTH else []:
        found = _merged(found, _extended(whole, base, depth + 1))
    return _merged(found, job)


def _merged(below: JSONObject, above: JSONObject) -> JSONObject:
    found = dict(below)
    for key, value in above.items():
        old = found.get(key)
        found[key] = _merged(old, value) if isinstance(old, dict) and isinstance(value, dict) else value
    return found


def _gitlab_job(whole: JSONObject, name: str, job: JSONObject, notices: list[str]) -> _Job:
    defaults = {**whole, **mapping(whole.get("default"))}
    combinations = dig(job, "parallel", "matrix")
    first = mapping(combinations[0] if isinstance(combinations, list) and combinations else None)
    chosen = {key: as_text(value[0] if isinstance(value, list) and value else value) for key, value in first.items()}
    variables = {**_texts(whole.get("variables")), **_texts(job.get("variables")), **chosen}
    image = job.get("image", defaults.get("image"))
    scripts = [
        (key, "\n".join(_gitlab_lines(whole, job.get(key, defaults.get(key)), 0)), "", variables)
        for key in ("before_script", "script")
    ]
    services = job.get("services", defaults.get("services"))
    return _Job(
        name,
        tuple(each for each in scripts if each[1]),
        variables,
        as_text(image if isinstance(image, str) else dig(image, "name")),
        tuple(_gitlab_service(each) for each in services if each) if isinstance(services, list) else (),
        tuple(notices),
    )


def _gitlab_lines(whole: JSONObject, value: JSONValue, depth: int) -> Iterator[str]:
    """Return the lines of a script; lists in it, and references to other jobs' scripts, are written out."""
    if isinstance(value, str):
        yield value
        return
    words = strings(value)
    if depth and len(words) == 2 and isinstance(value, list) and len(value) == 2 and words[0] in whole:
        yield from _gitlab_lines(whole, dig(whole, *words), depth + 1) if depth < _MAX_DEPTH else ()
        return
    for each in value if isinstance(value, list) and depth < _MAX_DEPTH else []:
        yield from _gitlab_lines(whole, each, depth + 1)


def _gitlab_service(value: JSONValue) -> tuple[str, JSONObject]:
    found: JSONObject = {"image": value} if isinstance(value, str) else dict(mapping(value))
    image = as_text(found.get("image") or found.get("name"))
    plain = image.partition("@")[0].partition(":")[0]
    alias = as_text(found.get("alias")).partition(",")[0].strip()
    settings: JSONObject = {"image": image, "env": found.get("variables"), "command": found.get("command")}
    return alias or plain.replace("/", "-"), settings


# Travis

_TRAVIS_SERVICES = {
    "postgresql": "postgres",
    "postgres": "postgres",
    "mysql": "mysql",
    "redis-server": "redis",
    "redis": "redis",
    "mongodb": "mongo",
    "memcached": "memcached",
    "rabbitmq": "rabbitmq",
    "elasticsearch": "elasticsearch",
}


def _travis(documents: Documents) -> Iterator[tuple[int, JobReading]]:
    if not documents.has(TRAVIS):
        return
    found = documents.yaml(TRAVIS)
    environment = found.get("env")
    listed = environment if isinstance(environment, dict) else {"matrix": environment}
    variables: dict[str, str] = {}
    for key, count in (("global", None), ("jobs", 1), ("matrix", 1)):
        for text in strings(listed.get(key))[:count]:
            variables |= dict(re.findall(r"""(\w+)=["']?([^\s"']*)["']?""", text))
    scripts = [
        (key, "\n".join(strings(found.get(key))), "", variables)
        for key in ("before_install", "install", "before_script", "script")
    ]
    services: tuple[tuple[str, JSONObject], ...] = tuple(
        (_TRAVIS_SERVICES[name], {"image": _TRAVIS_SERVICES[name]})
        for name in strings(found.get("services"))
        if name in _TRAVIS_SERVICES
    )
    job = _Job("", tuple(each for each in scripts if each[1]), variables, "", services)
    reading = _reading(documents, TRAVIS, job)
    reading.packages += strings(dig(found, "addons", "apt", "packages"))
    yield 0, reading


# CircleCI


def _circle(documents: Documents) -> Iterator[tuple[int, JobReading]]:
    if not documents.has(CIRCLE):
        return
    whole = documents.yaml(CIRCLE)
    for name, value in list(mapping(whole.get("jobs")).items())[:_MAX_JOBS]:
        job = mapping(value)
        executor = job.get("executor")
        named = executor if isinstance(executor, str) else as_text(dig(executor, "name"))
        job = {**mapping(dig(whole, "executors", named)), **job}
        yield name_score(name.lower()), _reading(documents, CIRCLE, _circle_job(whole, name, job))


def _circle_job(whole: JSONObject, name: str, job: JSONObject) -> _Job:
    notices: list[str] = []
    fill = _parameters(job, {})
    images = job.get("docker")
    containers = [mapping(each) for each in images] if isinstance(images, list) else []
    main = containers[0] if containers else {}
    variables = {**_texts(main.get("environment")), **_texts(job.get("environment"))}
    folder = _circle_folder(as_text(job.get("working_directory")))
    services: list[tuple[str, JSONObject]] = []
    for each in containers[1:]:
        image = fill(as_text(each.get("image")))
        plain = image.partition(":")[0].rpartition("/")[2]
        services.append((as_text(each.get("name")) or plain, {**each, "image": image}))
    scripts = tuple(_circle_steps(whole, job.get("steps"), fill, folder, variables, notices, 0))
    return _Job(name, scripts, variables, fill(as_text(main.get("image"))), tuple(services), tuple(notices))


def _circle_folder(text: str) -> str:
    """Return a folder relative to the checkout, which lies under `~/project` or wherever a job says."""
    return "" if text.startswith(("~", "/")) else text


def _parameters(definition: JSONObject, given: JSONObject) -> Callable[[str], str]:
    values = {key: as_text(dig(value, "default")) for key, value in mapping(definition.get("parameters")).items()}
    values |= {key: as_text(value) for key, value in given.items()}
    return lambda text: re.sub(r"<<\s*parameters\.([\w-]+)\s*>>", lambda match: values.get(match[1], match[0]), text)


def _circle_steps(  # noqa: PLR0917 - what is around a step, in one recursion
    whole: JSONObject,
    steps: JSONValue,
    fill: Callable[[str], str],
    folder: str,
    variables: Mapping[str, str],
    notices: list[str],
    depth: int,
) -> Iterator[tuple[str, str, str, Mapping[str, str]]]:
    for index, step in enumerate(steps if isinstance(steps, list) and depth < _MAX_DEPTH else []):
        name, value = (step, None) if isinstance(step, str) else next(iter(mapping(step).items()), ("", None))
        where = f"step {index + 1}"
        if name == "run":
            run = {"command": value} if isinstance(value, str) else mapping(value)
            script = fill(as_text(run.get("command")))
            if "<<" in re.sub(r"<<-?\s*['\"]?\w+", "", script):
                notices.append(f"{where} is left out: a value in it is known only to a run of the workflow")
                continue
            own = {**variables, **_texts(run.get("environment"))}
            inside = _circle_folder(as_text(run.get("working_directory"))) or folder
            yield where, script, inside, own
        elif name in {"when", "unless"}:
            yield from _circle_steps(whole, dig(value, "steps"), fill, folder, variables, notices, depth + 1)
        elif (command := mapping(dig(whole, "commands", name))) and command.get("steps"):
            given = {key: fill(as_text(each)) for key, each in mapping(value).items()}
            inner = _parameters(command, dict(given))
            yield from _circle_steps(whole, command.get("steps"), inner, folder, variables, notices, depth + 1)
        elif "/" in name:
            notices.append(f"{where}: {clean_line(name)[:60]} of an orb is left out")
