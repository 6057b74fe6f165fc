"""What is stored of a call beside its end: enough to count it again after a restart."""

from dataclasses import dataclass, field

from codexteam.core.budget_amounts import NANO, Amount
from codexteam.core.json_types import JSONObject, JSONValue
from codexteam.errors import StoreError
from codexteam.ports.answer_codec import encode_answer
from codexteam.ports.model import CallEnd
from codexteam.ports.store import OpenCall

#: The name in a stored answer's object under which this stands.
_FIELD = "call"


@dataclass(frozen=True, slots=True)
class CallRecord:
    """How a call was made."""

    model: str
    counted: Amount = field(default_factory=Amount)
    """What it counts for when its usage is not known."""
    lost: Amount = field(default_factory=Amount)
    """What earlier tries of it, that gave no answer, count for."""
    hand_over: bool = False
    """It was the last call of an agent whose budget was spent."""


def with_record(end: CallEnd, record: CallRecord) -> JSONObject:
    """Give the object that the store keeps of an answer."""
    return {
        **encode_answer(end),
        _FIELD: {
            "model": record.model,
            "counted": _amount_json(record.counted),
            "lost": _amount_json(record.lost),
            "hand_over": record.hand_over,
        },
    }


def recorded(answer: JSONObject) -> CallRecord:
    """Give what `with_record` was given.

    Raises:
        StoreError: it is not there.
    """
    match answer.get(_FIELD):
        case {"model": str(model), "counted": counted, "lost": lost, "hand_over": bool(hand_over)}:
            return CallRecord(model, _amount_of(counted), _amount_of(lost), hand_over)
        case _:
            raise StoreError("a stored answer does not say how its call was made", hint="the file is damaged")


def open_amount(call: OpenCall) -> Amount:
    """Give what a call without an answer counts for."""
    return Amount(call.reserved_tokens, _billionths(call.reserved_usd), _billionths(call.reserved_credits))


def _billionths(money: float | None) -> int | None:
    # they were whole when they were stored: rounded up, a call would cost one more with every resume
    return None if money is None else round(money * NANO)


def _amount_json(amount: Amount) -> JSONObject:
    return {"tokens": amount.tokens, "nano_usd": amount.nano_usd, "nano_credits": amount.nano_credits}


def _amount_of(value: JSONValue) -> Amount:
    match value:
        case {"tokens": int(tokens), "nano_usd": int() | None as usd, "nano_credits": int() | None as credits_}:
            return Amount(tokens, usd, credits_)
        case _:
            raise StoreError("a stored answer's amount cannot be read", hint="the file is damaged")
