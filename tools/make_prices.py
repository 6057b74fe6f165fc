"""Write the price table that ships, from the data of genai-prices (MIT licence, https://github.com/pydantic/genai-prices).

    python -m venv /tmp/prices && /tmp/prices/bin/pip install -U genai-prices
    /tmp/prices/bin/python tools/make_prices.py 2026-11-30 > codexteam/config/prices.json

The package is not a dependency: importing it takes half a second and its data 1.6 MB, prices of one run must not change
with an upgrade of something else, and the table is dated. The date is that on which the prices hold: of a model with
several prices the newest one begun until then is taken. Left out are models whose price varies with the time of day (a
budget needs a bound), and those where cached or short input costs more than other input.
"""

import json
import re
import sys
from datetime import date
from importlib.metadata import version
from typing import Any

from genai_prices.data import providers
from genai_prices.types import ClauseEquals, ClauseOr, ClauseRegex, ClauseStartsWith, StartDateConstraint

#: Who made the models that they sell. What others take for the same model is theirs to say, in `usage.cost`.
MAKERS = ("openai", "anthropic", "google", "x-ai", "deepseek", "mistral", "moonshotai", "zai", "minimax")

#: Not text in, text out; or open weights, which the maker does not sell.
_OTHERS = re.compile(
    r"audio|image|realtime|tts|transcri|whisper|embedding|moderation|dall|sora|veo|imagen|search|live|computer-use"
    r"|gpt-oss|ada|babbage|curie|davinci|instruct|ft:|gemma|deep-research|ocr|robotics|lyria|batch|omni|banana|voxtral|\\.ft|rosalind-discovery|-embed"
)
#: The end of a pattern for snapshots: `config.price_list` knows the form of dates by itself.
_DATED = re.compile(r"\^(?P<name>[a-z0-9.\\-]+?)-(?:\\d\{8\}|\\d\{4\}-\\d\{2\}-\\d\{2\})\$")
_SNAPSHOT = re.compile(r"-(?:\d{8}|\d{4}-\d{2}-\d{2})$")
#: In this order they stand in the table.
_FIELDS = ("input_mtok", "cache_read_mtok", "output_mtok")


def names_of(clause: Any) -> list[str]:
    """Return the names that a pattern of genai-prices stands for; of what begins a name, the beginning."""
    match clause:
        case ClauseEquals(equals=name) | ClauseStartsWith(starts_with=name):
            return [name.rstrip("-@")]
        case ClauseOr(or_=clauses):
            return [name for each in clauses for name in names_of(each)]
        case ClauseRegex(regex=regex) if found := _DATED.fullmatch(regex):
            return [found["name"].replace("\\", "")]
        case _:
            return []


def price_on(model: Any, day: date) -> Any:
    """Return the prices that hold on a day; None where they vary with its hours."""
    if not isinstance(model.prices, list):
        return model.prices
    newest, begun = None, date.min
    for each in model.prices:
        match each.constraint:
            case None:
                newest = newest or each.prices
            case StartDateConstraint(start_date=start):
                if begun <= start <= day:
                    newest, begun = each.prices, start
            case _:
                return None
    return newest


def row_of(prices: Any) -> dict[str, Any] | None:
    """Return a model's line; None where it cannot bound what a call costs."""
    base: list[float | None] = []
    long: list[float | None] = []
    starts = set()
    for name in _FIELDS:
        value = getattr(prices, name)
        if value is None or not hasattr(value, "tiers"):
            base.append(None if value is None else float(value))
            long.append(None if value is None else float(value))
            continue
        if len(value.tiers) != 1:
            return None
        base.append(float(value.base))
        long.append(float(value.tiers[0].price))
        starts.add(value.tiers[0].start)
    if base[0] is None or base[2] is None or len(starts) > 1 or getattr(prices, "requests_kcount", None):
        return None
    if (base[1] or 0) > base[0] or any((after or 0) < (before or 0) for before, after in zip(base, long, strict=True)):
        return None
    return {"usd": base, **({"above_tokens": starts.pop(), "long_usd": long} if starts else {})}


def main(day: date) -> None:
    """Print the table."""
    table: dict[str, dict[str, Any]] = {}
    for provider in providers:
        if provider.id not in MAKERS:
            continue
        for model in provider.models:
            prices = price_on(model, day)
            row = None if prices is None or _OTHERS.search(model.id) else row_of(prices)
            if row is not None:
                for name in (model.id, *names_of(model.match)):
                    bare = name.lower().removeprefix(f"{provider.id}/")
                    if not _OTHERS.search(bare):
                        table.setdefault(bare, {"by": provider.id, **row})
    # a snapshot that costs what its model does is found by the model's name
    for name in list(table):
        model_name = _SNAPSHOT.sub("", name)
        if model_name != name and table.get(model_name) == table[name]:
            del table[name]
    head = {"as_of": day.isoformat(), "source": f"genai-prices {version('genai-prices')}", "usd": "per million tokens"}
    lines = [f'"{name}": {json.dumps(table[name])}' for name in sorted(table)]
    sys.stdout.write(json.dumps(head)[:-1] + ',\n"models": {\n' + ",\n".join(lines) + "\n}}\n")


if __name__ == "__main__":
    main(date.fromisoformat(sys.argv[1]))
