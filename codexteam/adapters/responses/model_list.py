"""What a provider says of its models: the list that most services have at `/models`, beside what is asked of them."""

import asyncio
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from typing import TypeAlias

from codexteam.adapters.responses.clients import ProviderClient, credentials_of
from codexteam.adapters.responses.error_body import read_error
from codexteam.adapters.responses.lazy_models import import_client
from codexteam.config.settings import ProviderSettings
from codexteam.core.ids import JSONObject, JSONValue
from codexteam.core.text import clean_line

#: A list is asked for before a run begins: nobody waits long for it.
_SECONDS = 10.0
_MOST_BYTES = 16 << 20


@dataclass(frozen=True, slots=True)
class Listed:
    """The models that a provider lists, and of each the efforts that it takes, where that is said."""

    efforts: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    whole: bool = True
    """Whether these are all."""

    def names(self, model: str) -> bool:
        """Return whether a model is among them; a gateway may list patterns, and a local server tags."""
        wanted = model.casefold()
        return any(
            wanted == name.casefold()
            or f"{wanted}:latest" == name.casefold()
            or ("*" in name and fnmatchcase(wanted, name.casefold()))
            for name in self.efforts
        )


@dataclass(frozen=True, slots=True)
class NoList:
    """The provider answers, but has no list that says which models it serves."""

    why: str


@dataclass(frozen=True, slots=True)
class KeyRejected:
    """The provider does not accept the credentials."""

    why: str


@dataclass(frozen=True, slots=True)
class Unreachable:
    """Nobody answers at the provider's address, or what answers is out of order."""

    why: str


ModelList: TypeAlias = Listed | NoList | KeyRejected | Unreachable


async def list_models(
    provider: ProviderSettings, environment: Mapping[str, str], *, proxy_loopback: bool = False
) -> ModelList:
    """Ask a provider for its models. It costs nothing.

    Raises:
        ModelAccessError: there are no credentials to ask with.
    """
    credentials = credentials_of(provider, environment)
    await asyncio.to_thread(import_client)
    client = ProviderClient(provider, credentials, environment, proxy_loopback=proxy_loopback)
    try:
        async with asyncio.timeout(_SECONDS):
            status, body = await client.get("/models", most_bytes=_MOST_BYTES)
    except TimeoutError:
        return Unreachable(f"no answer within {_SECONDS:.0f} seconds")
    except OSError as error:
        return Unreachable(clean_line(credentials.redact(str(error) or type(error).__name__)) + client.proxy_words)
    finally:
        await client.close()
    if 200 <= status < 300:
        listed = read_list(body)
        # its deployments have names of their own, which are not in the list
        azure = "api-version" in provider.query_params
        return listed if listed is not None and not azure else NoList("its answer is not a list of models")
    said = read_error(body)
    why = clean_line(
        credentials.redact(": ".join(part for part in (f"HTTP {status}", said.code, said.message) if part))
    )
    if status == 401:
        return KeyRejected(why)
    return Unreachable(why) if status >= 500 and status != 501 else NoList(why)


def read_list(body: bytes) -> Listed | None:
    """Read a list of models: `data` with ids as most services have it, or `models` as Codex's own service does."""
    try:
        found: JSONValue = json.loads(body)
    except (ValueError, RecursionError):
        return None
    if not isinstance(found, dict):
        return None
    entries = found.get("data") if isinstance(found.get("data"), list) else found.get("models")
    efforts: dict[str, tuple[str, ...]] = {}
    for entry in entries if isinstance(entries, list) else ():
        if isinstance(entry, dict):
            for key in ("id", "slug", "name"):
                if isinstance(name := entry.get(key), str) and name:
                    efforts[name] = _efforts(entry)
                    break
    return Listed(efforts, whole=found.get("has_more") is not True) if efforts else None


def _efforts(entry: JSONObject) -> tuple[str, ...]:
    levels = entry.get("supported_reasoning_levels")
    named = (
        [level.get("effort") if isinstance(level, dict) else level for level in levels]
        if isinstance(levels, list)
        else []
    )
    return tuple(name for name in named if isinstance(name, str))
