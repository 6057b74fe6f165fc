"""Asks something of a run whose state belongs to another account: by a letter, which its owner's process takes."""

import asyncio
import json

from codexteam.adapters.machine.shared_state import is_posted, may_only_post, post
from codexteam.app import requests
from codexteam.app.group_access import Posted, PostedEvent
from codexteam.app.live_requests import Fate, Heard, heard_of
from codexteam.app.project import Project, reading_store
from codexteam.core.codec import encode_object
from codexteam.core.ids import RunId

#: How often the writer of a letter looks whether it was read, and how often it does so.
_WAIT_SECONDS, _WAITS = 0.25, 40


def posts(project: Project) -> bool:
    """Return whether this account asks by letter, as the state is another one's."""
    return may_only_post(project.state_dir)


async def leave_letter(project: Project, run_id: RunId, asked: PostedEvent, *, session: int = 0) -> str:
    """Leave what is asked with the account that owns the run; give the letter's name.

    `session` is that of the run which is meant: a stop is not for one that begins days later.
    """
    text = json.dumps(encode_object(Posted(run_id, asked, session)))
    return await asyncio.to_thread(post, project.state_dir, text)


async def post_request(project: Project, run_id: RunId, asked: PostedEvent) -> Heard:
    """Ask something of a run that another account's process works on, and wait briefly for its reply."""
    async with reading_store(project) as store:
        session = len(await store.sessions(run_id))
    name = await leave_letter(project, run_id, asked, session=session)
    for _ in range(_WAITS):
        await asyncio.sleep(_WAIT_SECONDS)
        if is_posted(project.state_dir, name):
            continue
        async with reading_store(project) as store:
            key = await requests.key_of(store, run_id, name)
            if key is not None and (heard := await heard_of(store, run_id, key)) is not None:
                return heard
    return Fate.LEFT
