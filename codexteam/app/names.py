"""Names that a shell completes: runs, and the tasks and waiting items of one."""

import asyncio

from codexteam.app.looking import Where, reading_store, state_of
from codexteam.app.start import pick_run
from codexteam.core.state import RunState


def known_names(where: Where, run: str | None) -> tuple[list[str], RunState | None]:
    """Give the ids of all runs, newest first, and the state of the one that is meant.

    Raises:
        CodexteamError: there are none, or none that is meant.
    """
    return asyncio.run(_known(where, run))


async def _known(where: Where, run: str | None) -> tuple[list[str], RunState | None]:
    async with reading_store(where.ground()) as store:
        run_ids = [str(record.run_id) for record in await store.runs()]
        return run_ids, await state_of(store, await pick_run(store, run))
