"""Receipts are read from the facts, and from where older versions kept them."""

from codexteam.app.receipts import receipts_of
from codexteam.core.ids import JSONObject, RunId
from codexteam.ports.reporter import RunEvent
from tests.fakes.memory_store import MemoryStore

RUN = RunId("20261121-0231-7f3a")
FIELDS: JSONObject = {"role": "implementer", "purpose": "implement", "task": "T1", "attempt": 2}


async def test_the_newest_fact_counts_and_older_versions_are_read() -> None:
    store = MemoryStore()
    await store.put(f"{RUN}/receipts", "explorer/scout//1", {"role": "explorer"})
    for effort in ("low", "high"):
        store.record_facts(RUN, [RunEvent("agent.received", 1.0, {**FIELDS, "receipt": {"effort": effort}})])

    assert await receipts_of(store, RUN) == {
        "explorer/scout//1": {"role": "explorer"},
        "implementer/implement/T1/2": {"effort": "high"},
    }
