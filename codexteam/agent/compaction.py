"""Making a transcript shorter before the context is full: a summary by the model, and the last turns as they are.

What comes out depends only on the transcript and the summary, so that a resumed agent gets the same.
"""

from collections.abc import Sequence

from codexteam.agent.tools.clip import clip
from codexteam.agent.transcript import Block, Transcript, block_of, user_item
from codexteam.core.ids import JSONObject
from codexteam.ports.sandbox import Remark

CUT_SHORT = "Your last answer was cut off at the output limit and discarded. Do less in one answer."
LAST_TURN = "This is your last turn: tool calls will not run. Give your final answer now."
HAND_OVER = (
    "The budget for this work is used up. This is your last turn: tool calls will not run. Give your final "
    "answer now: what is done, what is not, and what whoever continues must know."
)
NOT_RUN = "Not run: the budget was used up."
GO_ON = "There is budget again. Continue where you left off."
MESSAGE = "A message from the people you work for:\n"

_LEFT_OUT = "Some of what is in your workspace will not be part of your work:"
_TAKEN_BY_FORCE = "To include an ignored file, run `git add -f PATH`."
_MOST_REMARKS = 20


def left_out_notice(remarks: Sequence[Remark]) -> str:
    """Say what of a workspace is left out, and how to include it."""
    return "\n".join((_LEFT_OUT, *remark_lines(remarks), _TAKEN_BY_FORCE))


def remark_lines(remarks: Sequence[Remark]) -> list[str]:
    """List remarks, a line each, as many as are worth reading."""
    lines = [f"- {remark}" for remark in remarks[:_MOST_REMARKS]]
    more = len(remarks) - len(lines)
    return [*lines, f"- and {more} more like these"] if more else lines


def early_end(reason: str) -> str:
    """Say, for people, why an answer that is not too long was not finished."""
    if reason == "content_filter":
        return "the server's content filter ended the answer"
    return f"the server ended the answer early: {reason}"


#: How much of the last turns is kept verbatim.
_KEPT_BYTES = 24_000

#: How much of an old tool output is kept in a request that was too long.
_OLD_OUTPUT_TOKENS = 200

#: The share of the context window at which to compact, unless configured.
_FULL_SHARE = 0.9

COMPACT_PROMPT = """\
Your context is nearly full. Write down what you need to continue: everything above except the task itself will be \
gone. Plain text, at most 600 words:
- what is done, with file names
- what you learned about the code that matters for the rest
- which commands you ran and their exact results, above all the last failures
- decisions and their reasons
- what is left, in order
Call no tools. Write nothing else."""

_SUMMARY_HEAD = "Your earlier turns were removed to save space. This is your own summary of them:\n\n"
_NO_SUMMARY = "(There is none: inspect the workspace, above all `git diff`, before you continue.)"


def compact_at_tokens(window_tokens: int | None, asked_tokens: int | None) -> int | None:
    """Return the size at which to compact: what was configured, but never more than most of the window."""
    full = None if window_tokens is None else int(window_tokens * _FULL_SHARE)
    limits = [limit for limit in (full, asked_tokens) if limit is not None and limit > 0]
    return min(limits, default=None)


def compacted(blocks: Sequence[Block], summary: str) -> list[Block]:
    """Return the summary and those last turns that fit beside it, whole."""
    kept: list[Block] = []
    left_bytes = _KEPT_BYTES
    for block in reversed(blocks):
        left_bytes -= block.size.weight_bytes
        if left_bytes < 0:
            break
        kept.insert(0, block)
    return [block_of([user_item(_SUMMARY_HEAD + (summary.strip() or _NO_SUMMARY))]), *kept]


def request_for_summary(
    transcript: Transcript, prompt: str | None, *, most_bytes: int | None = None
) -> tuple[JSONObject, ...]:
    """Return the input that asks for a summary.

    As it is, it has the prefix of the calls before and so costs mostly cached input. `most_bytes` is for a transcript
    that is too long already: old outputs are cut, then the oldest turns are left out, until it is that small.
    """
    blocks = list(transcript.blocks)
    if most_bytes is not None:
        blocks = [block_of(_shortened(item) for item in block.items) for block in blocks]
        sizes = [block.size.weight_bytes for block in blocks]
        total = sum(sizes)
        first = 0
        while first < len(blocks) and total > most_bytes:
            total -= sizes[first]
            first += 1
        blocks = blocks[first:]
    items = (item for block in blocks for item in block.items)
    return (*transcript.prompt, *items, user_item(prompt or COMPACT_PROMPT))


def _shortened(item: JSONObject) -> JSONObject:
    output = item.get("output")
    if isinstance(output, str):
        return {**item, "output": clip(output, _OLD_OUTPUT_TOKENS).text}
    if isinstance(output, list):
        return {**item, "output": "(a picture, left out)"}
    return item
