"""What a devcontainer runs before somebody works in it, what it sets, and what of it is refused or left out.

`initializeCommand` is for the user's own machine: it is never run.
"""

import re
import shlex
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace

from codexteam.core.ids import JSONObject, JSONValue
from codexteam.core.text import clean_line
from codexteam.environment.documents import Documents, dig, mapping, strings
from codexteam.environment.expressions import as_text
from codexteam.environment.plan import Ecosystem, Offer, Service, ServiceCommand, SetupStep
from codexteam.environment.workflows.command_lines import CommandKind, database_lines, read_script
from codexteam.environment.workflows.services import read_service

PLACES = (".devcontainer/devcontainer.json", ".devcontainer.json")
_STAGES = ("onCreateCommand", "updateContentCommand", "postCreateCommand")
_REFUSED = ("privileged", "capAdd", "securityOpt", "mounts", "workspaceMount", "runArgs", "initializeCommand")
_VARIABLE = re.compile(r"\$\{(\w+)(?::([^}:]*))?(?::([^}]*))?\}")
_COMPOSE_LIMIT = 20


@dataclass(slots=True)
class DevcontainerReading:
    """What one devcontainer says."""

    path: str
    needs: Offer = field(default_factory=Offer)
    user: str = ""


def devcontainer_path(documents: Documents) -> str | None:
    """Return the one that counts; None where there is none, or several among which somebody must choose."""
    for path in PLACES:
        if documents.has(path):
            return path
    found = [
        path
        for path in documents.view.below(".devcontainer", "/devcontainer.json")
        if path.count("/") == 2 and documents.has(path)
    ]
    if len(found) > 1:
        documents.say(f"{', '.join(found)}: none of these is used, since there are several")
    return found[0] if len(found) == 1 else None


def read_devcontainer_steps(
    documents: Documents, path: str, environment: Mapping[str, str], workspace: str
) -> DevcontainerReading:
    """Read one.

    Args:
        documents: the repository's files.
        path: where it is.
        environment: the user's variables that it may see.
        workspace: where the checkout lies in a sandbox.
    """
    found = documents.json(path)
    notices: list[str] = []
    refused = [key for key in _REFUSED if found.get(key)]
    if refused:
        notices.append(f"{path}: {', '.join(refused)} not used: they reach beyond the sandbox")
    features = [_feature_name(key) for key in mapping(found.get("features"))]
    if features:
        notices.append(f"{path}: features {', '.join(clean_line(name) for name in features)} not installed")
    reader = _DevcontainerReader(path, environment, workspace, notices)
    steps = [step for stage in _STAGES for step in reader.steps(stage, found.get(stage))]
    at_start = reader.steps("postStartCommand", found.get("postStartCommand"))
    service_commands = [
        ServiceCommand(line, step.source) for step in (*steps, *at_start) for line in database_lines(step.command)
    ]
    steps += _of_every_start(reader, at_start)
    variables: dict[str, str] = {}
    for key in ("containerEnv", "remoteEnv"):
        for name, value in mapping(found.get(key)).items():
            filled = reader.filled(as_text(value))
            if filled is not None:
                variables[name] = filled
    services = _compose_services(documents, path, found, notices)
    user = as_text(found.get("remoteUser") or found.get("containerUser"))
    if user and not re.fullmatch(r"[a-z_][\w-]{0,31}", user):
        notices.append(f"{path}: remoteUser {clean_line(user)[:40]!r} is not the name of a user")
        user = ""
    needs = Offer(
        tuple(steps),
        variables=variables,
        services=tuple(services),
        service_commands=tuple(service_commands) if services else (),
        notices=tuple(notices),
    )
    return DevcontainerReading(path, needs, user)


def _of_every_start(reader: "_DevcontainerReader", steps: Iterable[SetupStep]) -> list[SetupStep]:
    """Return what a container runs whenever it starts, as far as it installs; servers would end with the set-up."""
    kept = []
    for step in steps:
        lines = [line for line in read_script(step.command) or [] if line.kind is not CommandKind.SERVICE]
        if not lines and database_lines(step.command):
            continue
        if lines and all(line.kind in {CommandKind.MANIFEST, CommandKind.PIP, CommandKind.ASIDE} for line in lines):
            kept.append(replace(step, optional=True))
        else:
            reader.notices.append(
                f"{reader.path}: postStartCommand {clean_line(step.command)[:60]!r} is not run: what it starts would end "
                "with the set-up"
            )
    return kept


def _feature_name(key: str) -> str:
    return key.rpartition("/")[2].partition(":")[0].partition("@")[0]


@dataclass(slots=True)
class _DevcontainerReader:
    path: str
    environment: Mapping[str, str]
    workspace: str
    notices: list[str]

    def steps(self, stage: str, value: JSONValue) -> list[SetupStep]:
        """Return the steps of a stage: a text is for a shell, a list is exec'ed, named ones run side by side."""
        match value:
            case str() | list():
                step = self._step(stage, value, "")
                return [step] if step is not None else []
            case dict():
                found = (
                    self._step(f"{stage} {clean_line(name)}", each, f"{self.path} {stage}")
                    for name, each in value.items()
                )
                return [step for step in found if step is not None]
            case None:
                return []
            case _:
                self.notices.append(f"{self.path}: {stage} is neither a text, a list nor an object, so it is left out")
                return []

    def _step(self, where: str, value: JSONValue, group: str) -> SetupStep | None:
        if isinstance(value, list) and all(isinstance(each, str) for each in value) and value:
            words = [self.filled(each) for each in strings(value)]
            command = None if None in words else shlex.join(word or "" for word in words)
        elif isinstance(value, str):
            command = self.filled(value)
        else:
            command = None
        if command is None:
            self.notices.append(
                f"{self.path}: {where} is left out: it is not a command with values that are known here"
            )
            return None
        if not command.strip():
            return None
        step = SetupStep(command, f"{self.path} {where}", Ecosystem.OTHER, reads=(self.path,), group=group)
        return replace(step, shell="/bin/sh {0}")  # noqa: S604 - a field; nothing is called

    def filled(self, text: str) -> str | None:
        """Return a text with its variables; None where one has no value here."""
        whole = True

        def value(match: re.Match[str]) -> str:
            nonlocal whole
            kind, name, default = match[1], match[2] or "", match[3]
            if kind in {"localEnv", "env"}:
                return self.environment.get(name, default or "")
            if kind == "containerEnv":
                # the shell of the step knows it
                return f"${{{name}}}" if default is None else f"${{{name}:-{default}}}"
            places = {
                "containerWorkspaceFolder": self.workspace,
                "localWorkspaceFolder": self.workspace,
                "containerWorkspaceFolderBasename": self.workspace.rpartition("/")[2],
                "localWorkspaceFolderBasename": self.workspace.rpartition("/")[2],
            }
            if kind not in places:
                whole = False
            return places.get(kind, "")

        filled = _VARIABLE.sub(value, text)
        return filled if whole else None


def _compose_services(documents: Documents, path: str, found: JSONObject, notices: list[str]) -> list[Service]:
    """Return the services of a compose file beside the one that somebody works in."""
    main = as_text(found.get("service"))
    services: list[Service] = []
    for name in strings(found.get("dockerComposeFile")):
        parts: list[str] = []
        for part in [*path.split("/")[:-1], *name.split("/")]:
            if part == "..":
                parts = parts[:-1]
            elif part != ".":
                parts.append(part)
        compose = "/".join(parts)
        if not documents.has(compose):
            notices.append(f"{path}: there is no {clean_line(compose)}")
            continue
        for key, value in list(mapping(documents.yaml(compose).get("services")).items())[:_COMPOSE_LIMIT]:
            if key == main:
                refused = [
                    each for each in ("privileged", "cap_add", "devices", "pid", "network_mode") if dig(value, each)
                ]
                if refused:
                    notices.append(f"{compose}: {', '.join(refused)} of service {clean_line(key)} not used")
                continue
            service = read_service(
                key, _without_variables(mapping(value)), f"{compose} service {clean_line(key)}", notices
            )
            if service is not None:
                services.append(service)
    return services


def _without_variables(value: JSONObject) -> JSONObject:
    """Return a compose service with `${NAME:-default}` as its default: nothing of the user's environment counts."""

    def filled(each: JSONValue) -> JSONValue:
        if isinstance(each, str):
            return re.sub(r"\$\{\w+(?::?-([^}]*))?\}", lambda match: match[1] or "", each)
        if isinstance(each, list):
            return [filled(part) for part in each]
        return {key: filled(part) for key, part in each.items()} if isinstance(each, dict) else each

    return {key: filled(each) for key, each in value.items() if key != "build" or "image" in value}
