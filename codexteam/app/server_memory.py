"""What a run's servers refuse of its requests, kept in its store, so that no session asks for it again."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from codexteam.core.codec import StoredForm, decode, encode_object, stored
from codexteam.core.ids import JSONObject, RunId
from codexteam.ports.store import Store


@stored(StoredForm(tag=""))
@dataclass(frozen=True, slots=True)
class LeftOutParts:
    """The parts that are left out of requests to one model."""

    left_out: tuple[str, ...]


class StoredMemory:
    """`ServerMemory` in a run's store; what is learned is reported as a notice."""

    def __init__(self, store: Store, run_id: RunId, report: Callable[[str, JSONObject], None]) -> None:
        """Take where it is kept, and whom people hear it from."""
        self._store = store
        self._space = f"{run_id}/servers"
        self._report = report

    async def left_out(self, provider_id: str, model: str) -> tuple[str, ...]:
        """Return the parts that are left out of requests to a model."""
        known = await self._store.get(self._space, _key(provider_id, model))
        return () if known is None else decode(LeftOutParts, known, f"what {provider_id} refuses").left_out

    async def leave_out(self, provider_id: str, model: str, parts: Sequence[str], why: str) -> None:
        """Store all parts that are left out from now on, and report why there are more."""
        await self._store.put(self._space, _key(provider_id, model), encode_object(LeftOutParts(tuple(parts))))
        self._report("notice", {"text": why})


def _key(provider_id: str, model: str) -> str:
    return f"{provider_id}/{model}"
