"""The receipts of a run's agents, as its facts have them; older versions kept them beside the facts, too."""

from codexteam.core.ids import JSONObject, RunId
from codexteam.ports.store import Store
from codexteam.report.progress import number_field, text_field


async def receipts_of(store: Store, run_id: RunId) -> dict[str, JSONObject]:
    """Return `<role>/<purpose>/<task>/<attempt>` to the newest receipt of an agent's start."""
    found = dict(await store.list(f"{run_id}/receipts"))
    for fact in await store.facts(run_id):
        receipt = fact.fields.get("receipt")
        if fact.kind == "agent.received" and isinstance(receipt, dict):
            role, purpose, task = (text_field(fact.fields, name) for name in ("role", "purpose", "task"))
            found[f"{role}/{purpose}/{task}/{number_field(fact.fields, 'attempt')}"] = receipt
    return dict(sorted(found.items()))
