"""Foreign text and numbers as they are shown."""

from collections.abc import Iterable, Sequence

from rich.text import Text

from codexteam.core.activity import DOING_WORDS, Activity
from codexteam.core.base_check import AGAIN, CANNOT_RUN_ITEM, RED_BASE_ITEM, WITHOUT
from codexteam.core.budget_amounts import Usage
from codexteam.core.task_budgets import BUDGET_ITEM
from codexteam.core.text import clean_line, count_of
from codexteam.report.progress import Progress
from codexteam.report.rows import AgentRow, CommandRow
from codexteam.report.spent import Bound


def foreign(text: str, *, style: str = "") -> Text:
    """Return text from a model, a tool or a repository: escaped, on one line, never read as markup."""
    return Text(clean_line(text), style=style)


def tokens(count: int) -> str:
    """Return a count of tokens, short."""
    if count < 1_000:
        return str(count)
    if count < 100_000:
        return f"{count / 1_000:.1f}k"
    return f"{count / 1_000:.0f}k" if count < 1_000_000 else f"{count / 1_000_000:.2f}M"


def money(usd: float | None) -> str:
    """Return an amount of money; unknown is `price unknown`, never 0."""
    if usd is None:
        return "price unknown"
    return f"${usd:.2f}" if usd >= 1 or usd == 0 else f"${usd:.3f}"


def credit_count(credits_: float) -> str:
    """Return a number of credits, short."""
    return f"{credits_:,.0f}" if credits_ >= 100 else f"{credits_:.3g}"


def credit_words(credits_: float) -> str:
    """Return an amount of credits, short."""
    return f"{credit_count(credits_)} credits"


def worth(usd: float | None, credits_: float | None) -> str:
    """Return an amount in money and credits; without credits if there are none or they are unknown."""
    return f"{money(usd)}, {credit_words(credits_)}" if credits_ else money(usd)


def forecast_words(progress: Progress) -> str:
    """Return a run's forecast and how much of it was spent; empty without a forecast."""
    made = progress.forecast
    if made is None or made.tokens is None:
        return ""
    if made.usd is not None and progress.usd is not None:
        (expected, worst), spent = made.usd, progress.usd
        said = f"{money(expected)} expected, {money(worst)} at worst"
    else:
        (expected, worst), spent = made.tokens, float(progress.usage.total_tokens)
        said = f"{tokens(int(expected))} tokens expected, {tokens(int(worst))} at worst"
    rests = f"from {count_of(made.runs, 'earlier run')}" if made.runs else "assumed, nothing was known here"
    share_spent = f"; {share(spent / expected)} of the expected was spent" if expected else ""
    return f"forecast {said} ({rests}){share_spent}"


def priced_words(progress: Progress) -> str:
    """Return what priced models cost, if others have no price; empty if all or none have one."""
    known = [agent.usd for agent in progress.agents.values() if agent.usd is not None]
    unpriced = sorted({agent.model for agent in progress.agents.values() if agent.usd is None})
    if not unpriced or not any(known):
        return ""
    whose = "whose price is" if len(unpriced) == 1 else "whose prices are"
    return f"{money(sum(known))} without {', '.join(unpriced)}, {whose} unknown"


def cost(usd: float | None, unknown: Bound) -> str:
    """Return the known cost; with calls of unknown usage, a range up to the most it can be."""
    if not unknown.calls or unknown.usd == 0:
        return money(usd)
    most = None if usd is None or unknown.usd is None else usd + unknown.usd
    return money(usd) if most is None else f"{money(usd)} to {money(most)}"


def token_span(count: int, unknown: Bound) -> str:
    """Return the known tokens; with calls of unknown usage, a range up to the most it can be."""
    return f"{tokens(count)} to {tokens(count + unknown.tokens)}" if unknown.tokens else tokens(count)


def unknown_words(unknown: Bound) -> str:
    """Describe what calls of unknown usage may have cost; empty without any."""
    if not unknown.calls:
        return ""
    said = f"{count_of(unknown.calls, 'call')} without a usage report: not in it"
    if not unknown.tokens:
        return said  # an older codexteam did not write down what they count for
    price = "" if unknown.usd is None else f" and {money(unknown.usd)}"
    return f"{said}, at most {tokens(unknown.tokens)} tokens{price} more, which the budget counts"


def elapsed(seconds: float) -> str:
    """Return a duration, short."""
    whole = max(0, int(seconds))
    hours, rest = divmod(whole, 3_600)
    minutes, left = divmod(rest, 60)
    return f"{hours}:{minutes:02}:{left:02}" if hours else f"{minutes}:{left:02}"


def running_words(row: CommandRow, now_seconds: float) -> str:
    """Describe a running command: its purpose, for how long it has run, and when it times out."""
    left = elapsed(row.until_seconds - now_seconds)
    return (
        f"`{row.command}` ({row.check}) for {elapsed(now_seconds - row.since_seconds)}, ended in {left} at the latest"
    )


def share(part: float | None) -> str:
    """Return a share of 1 as a percentage."""
    return "-" if part is None else f"{part:.0%}"


def usage_words(usage: Usage) -> str:
    """Return usage in words: input with its cached part, output with its reasoning part."""
    cached = f" ({usage.cached_input_tokens / usage.input_tokens:.0%} cached)" if usage.input_tokens else ""
    return f"{tokens(usage.input_tokens)} in{cached}, {tokens(usage.output_tokens)} out"


def in_words(state: str) -> str:
    """Return the name of a state as it is read; programs get it with its underscore."""
    return state.replace("_", " ")


def doing_words(agent: AgentRow, now: Activity | None, now_seconds: float, *, stalled: bool) -> str:
    """Say what an agent does or waits for, and for how long; what it did last where its process does not say."""
    if now is None:
        return agent.action or agent.state
    detail = f": {now.detail}" if now.detail else ""
    words = f"{DOING_WORDS[now.doing]} for {elapsed(max(0.0, now_seconds - now.since_seconds))}{detail}"
    if not stalled:
        return words
    return f"stalled, nothing heard for {elapsed(max(0.0, now_seconds - now.heard_seconds))}; {words}"


def answers_to(item: str) -> tuple[str, ...]:
    """Return the commands that answer an inbox item, the likeliest first."""
    if item == "plan" or item.startswith(("merge.", "guarded.")):
        return (
            f"codexteam approve {item}",
            f'codexteam answer {item} "what to change"',
            f"codexteam answer {item} --no",
        )
    if item.startswith("rounds."):
        return (f"codexteam approve {item}", f"codexteam answer {item} waive F1 ...", f"codexteam answer {item} --no")
    if item == CANNOT_RUN_ITEM:
        return (
            f"codexteam answer {item} {AGAIN}",
            f"codexteam answer {item} {WITHOUT}",
            f"codexteam answer {item} --no",
        )
    if item.startswith(BUDGET_ITEM):
        return (
            f"codexteam approve {item}",
            f"codexteam answer {item} 2usd  (so much more; or 400k, 300credits)",
            f"codexteam answer {item} --no",
        )
    if item == RED_BASE_ITEM:
        return (f"codexteam approve {item}", f"codexteam answer {item} --no")
    return (f'codexteam answer {item} "TEXT"',)


def look_at(item: str) -> tuple[str, ...]:
    """Return the commands that show what an inbox item is about."""
    if item.startswith("merge."):
        return (f"codexteam diff {item.split('.')[1]}",)
    return ("codexteam diff", "codexteam status") if item.startswith("rounds.") else ()


def after_not_green(failed: Sequence[str], open_findings: Sequence[str]) -> list[str]:
    """Return what to do about a run that is not green: look, waive, try again."""
    steps = [f"codexteam show {failed[0]}"] if failed else ["codexteam status"]
    if open_findings:
        steps.append(f"codexteam answer findings waive {' '.join(open_findings)}  # if it may stay so")
    return [*steps, "codexteam resume  # tries again"]


#: What to type to see how else something may be answered.
OTHER_ANSWERS = "codexteam inbox  # other answers"


def next_answers(items: Iterable[str]) -> list[str]:
    """Return what to type next for what waits: of each item the likeliest answer, and where the others are."""
    known = [answers_to(item) for item in items]
    others = [OTHER_ANSWERS] if any(len(answers) > 1 for answers in known) else []
    return [answers[0] for answers in known] + others
