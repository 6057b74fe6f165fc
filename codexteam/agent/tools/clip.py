"""Long outputs made short: head and tail stay, and a marker says how much is left out."""

from dataclasses import dataclass

#: Codex's rule of thumb, which is also what `max_output_tokens` of a tool call counts in.
BYTES_PER_TOKEN = 4

#: A cut moves to the nearest line's end when that costs no more than this.
_LINE_SLACK_BYTES = 256


@dataclass(frozen=True, slots=True)
class Clipped:
    """What is left of a text."""

    text: str
    left_out_bytes: int
    """Of the text's UTF-8 form; 0 when nothing was left out."""


def as_text(printed: str) -> str:
    """Return what was printed without NUL, which services refuse: U+FFFD stands for it, as for what is not UTF-8."""
    return printed.replace("\0", "\ufffd")


def tokens_of(size_bytes: int) -> int:
    """Return about how many tokens a text of that size is."""
    return -(-size_bytes // BYTES_PER_TOKEN)


def clip(text: str, limit_tokens: int) -> Clipped:
    """Keep the head and the tail of a text, half of the limit each, cut between characters and best between lines."""
    data = text.encode("utf-8", errors="replace")
    limit_bytes = limit_tokens * BYTES_PER_TOKEN
    if len(data) <= limit_bytes:
        return Clipped(text, 0)
    head_end = _head_end(data, limit_bytes - limit_bytes // 2)
    tail_start = _tail_start(data, len(data) - limit_bytes // 2)
    left_out = tail_start - head_end
    head = data[:head_end].decode("utf-8", errors="ignore")
    tail = data[tail_start:].decode("utf-8", errors="ignore")
    marker = f"\n…{tokens_of(left_out):,} tokens truncated ({left_out:,} of {len(data):,} bytes)…\n"
    return Clipped(f"{head}{marker}{tail}", left_out)


def _head_end(data: bytes, at: int) -> int:
    newline = data.rfind(b"\n", max(0, at - _LINE_SLACK_BYTES), at)
    if newline >= 0:
        return newline
    while at > 0 and data[at] & 0xC0 == 0x80:
        at -= 1
    return at


def _tail_start(data: bytes, at: int) -> int:
    newline = data.find(b"\n", at, at + _LINE_SLACK_BYTES)
    if newline >= 0:
        return newline + 1
    while at < len(data) and data[at] & 0xC0 == 0x80:
        at += 1
    return at
