"""Requests as a server takes them: what it refuses of them is left out of every later one to the same model."""

from collections.abc import Sequence

from codexteam.adapters.responses.failures import Denial, Denied, NotTaken, names_parameters
from codexteam.adapters.responses.optional_parts import loss_of, without
from codexteam.adapters.responses.refusals import refused_parts
from codexteam.core.ids import JSONObject
from codexteam.ports.model import CallEnd, CallFailed, ContextExceeded, CutShort, ModelAnswer, ServerMemory

#: Requests that may be refused, for reasons nobody understands, by a server that has not answered any.
_MOST_REFUSED = 2


class ShortMemory:
    """A memory that ends with its process and reports nothing."""

    async def left_out(self, provider_id: str, model: str) -> tuple[str, ...]:  # noqa: ARG002 - nothing is known
        """Return nothing: what is learned stays with who learned it."""
        return ()

    async def leave_out(self, provider_id: str, model: str, parts: Sequence[str], why: str) -> None:
        """Note nothing."""


class Fitting:
    """What one provider's model is asked with, shared by all calls to it."""

    def __init__(self, provider_id: str, model: str, memory: ServerMemory) -> None:
        self._place = (provider_id, model)
        self._memory = memory
        self._left_out: tuple[str, ...] = ()
        self._begun = False
        self._answered = False
        self._refused = 0

    async def begin(self) -> None:
        """Recall what was learned before; may be repeated."""
        if not self._begun:
            known = await self._memory.left_out(*self._place)
            self._begun = True
            self._left_out = tuple(dict.fromkeys((*known, *self._left_out)))

    @property
    def left_out(self) -> tuple[str, ...]:
        """Return the names of the parts that are left out."""
        return self._left_out

    def fitted(self, body: JSONObject) -> JSONObject:
        """Return a request as the server takes it."""
        return without(body, self.left_out)

    def heard(self, end: CallEnd) -> None:
        """Note how a call ended: a server that has answered once takes requests such as ours."""
        self._answered = self._answered or isinstance(end, ModelAnswer | CutShort)

    async def refused(
        self, refusal: NotTaken, sent: JSONObject, said: str
    ) -> CallFailed | ContextExceeded | Denied | None:
        """Learn from a refusal of what was sent; None when it can be sent again without what was refused."""
        if self.fitted(sent) != sent:
            return None  # another call has learned it meanwhile
        end = refusal.end
        parts = refused_parts(refusal.error, sent, described=not isinstance(end, Denied | ContextExceeded))
        if parts:
            self._left_out = tuple(dict.fromkeys((*self.left_out, *parts)))
            names = " and ".join(f"`{part}`" for part in parts)
            losses = "; ".join(dict.fromkeys(loss_of(part) for part in parts))
            provider, model = self._place
            why = f"{provider} refuses {names} in requests to {model}, which go without from now on: {losses}. It said: {said}"
            await self._memory.leave_out(*self._place, self._left_out, why)
            return None
        if isinstance(end, CallFailed) and not self._answered:
            self._refused += 1
            if self._refused >= _MOST_REFUSED or names_parameters(refusal):
                return Denied(Denial.REQUEST, end.message)
        return end
