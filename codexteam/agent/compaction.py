"""Making a transcript shorter before the context is full: a summary by the model, and the last turns as they are.

What comes out depends only on the transcript and the summary, so that a resumed agent gets the same.
"""

from collections.abc import Sequence

from codexteam.agent.tools.clip import clip
from codexteam.agent.transcript import Block, Transcript, block_of, user_item
from codexteam.core.json_types import JSONObject

#: Of the last turns so much stays word for word.
_KEPT_BYTES = 24_000

#: What is left of an old tool output in a request that was too long.
_OLD_OUTPUT_TOKENS = 200

#: The share of the context window at which it is time, where the configuration says nothing.
_FULL_SHARE = 0.9

COMPACT_PROMPT = """\
Your context is nearly full. Write what you need to go on, for yourself: everything above but the task itself will be \
gone. Plain text, at most 600 words:
- what is done, with file names
- what you learned about the code that matters for the rest
- which commands you ran and what came of them, exactly, the last failures above all
- decisions and their reasons
- what is left, in order
Call no tool. Write nothing else."""

_SUMMARY_HEAD = "Your earlier turns were cut to save room. This is your own summary of them:\n\n"
_NO_SUMMARY = "(There is none: look at the workspace, `git diff` above all, before you go on.)"


def compact_at_tokens(window_tokens: int | None, asked_tokens: int | None) -> int | None:
    """Give the size at which to compact: what was configured, but never more than most of the window."""
    full = None if window_tokens is None else int(window_tokens * _FULL_SHARE)
    limits = [limit for limit in (full, asked_tokens) if limit is not None and limit > 0]
    return min(limits, default=None)


def compacted(blocks: Sequence[Block], summary: str) -> list[Block]:
    """Give the summary and those last turns that fit beside it, whole."""
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
    """Give the input that asks for a summary.

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
