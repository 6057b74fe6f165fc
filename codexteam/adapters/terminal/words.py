"""Foreign text and numbers as they are shown."""

from collections.abc import Iterable

from rich.text import Text

from codexteam.core.text import clean_line, count_of
from codexteam.core.usage import Usage
from codexteam.report.unknown_bills import Bound


def foreign(text: str, *, style: str = "") -> Text:
    """Give text from a model, a tool or a repository: escaped, on one line, never read as markup."""
    return Text(clean_line(text), style=style)


def tokens(count: int) -> str:
    """Give a count of tokens, short."""
    if count < 1_000:
        return str(count)
    if count < 100_000:
        return f"{count / 1_000:.1f}k"
    return f"{count / 1_000:.0f}k" if count < 1_000_000 else f"{count / 1_000_000:.2f}M"


def money(usd: float | None) -> str:
    """Give an amount; an unknown one is said, never 0."""
    if usd is None:
        return "price unknown"
    return f"${usd:.2f}" if usd >= 1 or usd == 0 else f"${usd:.3f}"


def cost(usd: float | None, unknown: Bound) -> str:
    """Give what is known to be billed; where calls of unknown usage are, up to the most that it can be."""
    if not unknown.calls or unknown.usd == 0:
        return money(usd)
    most = None if usd is None or unknown.usd is None else usd + unknown.usd
    return money(usd) if most is None else f"{money(usd)} to {money(most)}"


def token_span(count: int, unknown: Bound) -> str:
    """Give tokens that are known to be billed; where calls of unknown usage are, up to the most that it can be."""
    return f"{tokens(count)} to {tokens(count + unknown.tokens)}" if unknown.tokens else tokens(count)


def unknown_words(unknown: Bound) -> str:
    """Say what calls of unknown usage may have been billed; empty without any."""
    if not unknown.calls:
        return ""
    said = f"{count_of(unknown.calls, 'call')} whose usage the service did not say: not in it"
    if not unknown.tokens:
        return said  # an older codexteam did not write down what they count for
    price = "" if unknown.usd is None else f" and {money(unknown.usd)}"
    return f"{said}, at most {tokens(unknown.tokens)} tokens{price} more, which the budget counts"


def elapsed(seconds: float) -> str:
    """Give a duration, short."""
    whole = max(0, int(seconds))
    hours, rest = divmod(whole, 3_600)
    minutes, left = divmod(rest, 60)
    return f"{hours}:{minutes:02}:{left:02}" if hours else f"{minutes}:{left:02}"


def share(part: float | None) -> str:
    """Give a share of 1 as a percentage."""
    return "-" if part is None else f"{part:.0%}"


def usage_words(usage: Usage) -> str:
    """Give usage in words: input with its cached part, output with its reasoning part."""
    cached = f" ({usage.cached_input_tokens / usage.input_tokens:.0%} cached)" if usage.input_tokens else ""
    return f"{tokens(usage.input_tokens)} in{cached}, {tokens(usage.output_tokens)} out"


def in_words(state: str) -> str:
    """Give the name of a state as it is read; programs get it with its underscore."""
    return state.replace("_", " ")


def answers_to(item: str) -> tuple[str, ...]:
    """Give how an item that waits for a person may be answered, the likeliest first."""
    if item == "plan" or item.startswith("merge."):
        return (
            f"codexteam approve {item}",
            f'codexteam answer {item} "what to change"',
            f"codexteam answer {item} --no",
        )
    if item.startswith("rounds."):
        return (f"codexteam approve {item}", f"codexteam answer {item} waive F1 ...", f"codexteam answer {item} --no")
    return (f'codexteam answer {item} "TEXT"',)


#: What to type to see how else something may be answered.
OTHER_ANSWERS = "codexteam inbox  # other answers"


def next_answers(items: Iterable[str]) -> list[str]:
    """Give what to type next for what waits: of each item the likeliest answer, and where the others are."""
    known = [answers_to(item) for item in items]
    others = [OTHER_ANSWERS] if any(len(answers) > 1 for answers in known) else []
    return [answers[0] for answers in known] + others
