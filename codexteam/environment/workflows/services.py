"""Servers that a CI job has beside it, and how to see that one is ready."""

import re
import shlex
from collections.abc import Mapping

from codexteam.core.ids import JSONObject, JSONValue
from codexteam.core.text import clean_line
from codexteam.environment.documents import mapping, strings
from codexteam.environment.expressions import as_text
from codexteam.environment.plan import Service

#: By a word in an image's name: the port that it listens on, and a command in it that succeeds once it is ready.
_KNOWN: Mapping[str, tuple[int, str]] = {
    "postgis": (5432, "pg_isready -q"),
    "timescale": (5432, "pg_isready -q"),
    "pgvector": (5432, "pg_isready -q"),
    "postgres": (5432, "pg_isready -q"),
    "redis": (6379, "redis-cli ping"),
    "valkey": (6379, "valkey-cli ping"),
    "mysql": (3306, "mysqladmin ping --silent -h 127.0.0.1"),
    "mariadb": (3306, "healthcheck.sh --connect --innodb_initialized"),
    "mongo": (27017, ""),
    "memcached": (11211, ""),
    "rabbitmq": (5672, "rabbitmq-diagnostics -q ping"),
    "elasticsearch": (9200, ""),
    "opensearch": (9200, ""),
    "minio": (9000, ""),
    "nats": (4222, ""),
}
_TAKEN = {
    "--health-cmd",
    "--health-interval",
    "--health-timeout",
    "--health-retries",
    "--health-start-period",
    "--name",
}


def read_service(name: str, found: JSONObject, source: str, notices: list[str]) -> Service | None:
    """Return a service as a job names it; None, with a line that says why, where it cannot be had.

    Args:
        name: what the job calls it.
        found: its settings, their expressions worked out.
        source: the workflow and job.
        notices: takes a line for each setting that is not followed.
    """
    image = as_text(found.get("image")).strip()
    said = f"{source}: service {clean_line(name)}"
    if not image:
        notices.append(f"{said} has no image that is known before a run")
        return None
    if not re.fullmatch(r"[\w][\w./:@-]*", image):
        notices.append(f"{said}: {clean_line(image)[:80]!r} is not the name of an image")
        return None
    refused = [
        key for key in ("volumes", "credentials", "privileged", "network_mode", "devices", "cap_add") if found.get(key)
    ]
    if refused:
        notices.append(f"{said}: {', '.join(refused)} not used")
    known = next((each for word, each in _KNOWN.items() if word in image.rpartition("/")[2]), (0, ""))
    ports = _ports(found.get("ports")) or (((known[0], known[0]),) if known[0] else ())
    if not ports:
        notices.append(f"{said}: no port is named, so it is not waited for")
    health, interval, retries = _health(as_text(found.get("options")), said, notices)
    environment = _environment(found.get("env", found.get("environment")))
    command = found.get("command")
    words = strings(command) if isinstance(command, list) else _words(as_text(command))
    return Service(name, image, source, ports, environment, tuple(words), health or known[1], interval, retries)


def _environment(value: JSONValue) -> dict[str, str]:
    if isinstance(value, list):
        return {name: rest for text in strings(value) for name, _, rest in (text.partition("="),)}
    return {key: as_text(each) for key, each in mapping(value).items()}


def _ports(value: JSONValue) -> tuple[tuple[int, int], ...]:
    found = []
    for each in value if isinstance(value, list) else []:
        numbers = re.fullmatch(r"(?:(?:[\d.]+:)?(\d{1,5}):)?(\d{1,5})(?:/tcp)?", as_text(each).strip())
        if numbers:
            found.append((int(numbers[1] or numbers[2]), int(numbers[2])))
    return tuple(found)


def _words(text: str) -> list[str]:
    try:
        return shlex.split(text)
    except ValueError:
        return text.split()


def _health(options: str, said: str, notices: list[str]) -> tuple[str, float, int]:
    """Return the health check that options for `docker create` name; others are refused by name."""
    words = _words(options)
    values: dict[str, str] = {}
    refused = []
    index = 0
    while index < len(words):
        key, equals, value = words[index].partition("=")
        index += 1
        if key not in _TAKEN:
            if key.startswith("-"):
                refused.append(key)
            continue
        if not equals and index < len(words):
            value = words[index]
            index += 1
        values[key] = value
    if refused:
        notices.append(f"{said}: options {', '.join(clean_line(each) for each in refused)} not used")
    seconds = re.match(r"(\d+(?:\.\d+)?)(ms|s|m)?", values.get("--health-interval", ""))
    unit = {"ms": 0.001, "m": 60.0}.get(seconds[2] or "s", 1.0) if seconds else 1.0
    interval = float(seconds[1]) * unit if seconds else 2.0
    retries = values.get("--health-retries", "")
    # what a check may take stays, in shorter steps
    tries = max(30, int(retries) * int(interval or 1)) if retries.isdigit() else 60
    return values.get("--health-cmd", ""), min(max(interval, 0.5), 2.0), min(tries, 300)
