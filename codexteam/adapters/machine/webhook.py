"""Posts what a person wants to hear of to an address of theirs, as JSON: the key `text` is what chat services show."""

import asyncio
import json
from collections.abc import Callable
from urllib.parse import urlsplit

from codexteam.core.ids import JSONObject
from codexteam.core.text import clean_line
from codexteam.report.notices import Notice, shortened
from codexteam.system.cancellation import stopped

#: What is said of why it could not be posted.
_SAID_CHARS = 200


class Webhook:
    """One address. The run waits for it at its end alone, and not for long."""

    def __init__(self, url: str, *, seconds: float, run_id: str, goal: str, warn: Callable[[str], None]) -> None:
        """Take the address and how long one request may take; `warn` is called for the first that fails."""
        self._url = url
        self._seconds = seconds
        self._run_id = run_id
        self._goal = goal
        self._warn = warn
        self._posting: set[asyncio.Task[None]] = set()
        self._has_failed = False

    def tell(self, notice: Notice) -> None:
        """Begin to post a notice; on the loop's thread."""
        body: JSONObject = {
            "text": f"codexteam {self._run_id}: {notice.text}",
            "event": notice.name,
            "run": self._run_id,
            "goal": shortened(self._goal),
            **notice.fields,
        }
        posting = asyncio.create_task(self._post(body))
        self._posting.add(posting)
        posting.add_done_callback(self._posting.discard)

    async def _post(self, body: JSONObject) -> None:
        import httpx2

        try:
            async with asyncio.timeout(self._seconds), httpx2.AsyncClient(timeout=self._seconds) as client:
                answer = await client.post(
                    self._url, content=json.dumps(body), headers={"content-type": "application/json"}
                )
        except TimeoutError:
            self._fail(f"no answer in {self._seconds:g} s")
        except (httpx2.HTTPError, httpx2.InvalidURL, OSError, ValueError) as error:
            self._fail(str(error) or type(error).__name__)
        else:
            if not answer.is_success:
                self._fail(f"{answer.status_code} {answer.reason_phrase}")

    def _fail(self, why: str) -> None:
        if not self._has_failed:
            # not the whole address: its path is often all that keeps others from posting there
            place = urlsplit(self._url)
            self._warn(f"webhook: {place.scheme}://{place.netloc.rpartition('@')[2]}: {clean_line(why)[:_SAID_CHARS]}")
        self._has_failed = True

    async def finish(self) -> None:
        """Let what is being posted arrive; each request has its own time limit."""
        try:
            await asyncio.gather(*self._posting)
        finally:
            for posting in [*self._posting]:
                await stopped(posting)
