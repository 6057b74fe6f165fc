"""Agents' transcripts as `show` prints them and as the live view shows them: one look for both."""

import json
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from rich.console import Console
from rich.text import Text

from codexteam.core.text import clean, count_of
from codexteam.report.transcripts import AgentTranscript, EntryKind, TranscriptEntry, TranscriptTurn
from codexteam.views.formatting import cost, foreign, in_words, unknown_words, usage_words, worth
from codexteam.views.receipt import agent_receipt_text
from codexteam.views.streams import OutputStreams

#: A line of a transcript: its text, escaped, and its style.
StyledLine = tuple[str, str]

_HEADS = {
    EntryKind.INSTRUCTIONS: "instructions",
    EntryKind.FACT: "told to all agents",
    EntryKind.ASKED: "asked",
    EntryKind.REASONING: "reasoning",
    EntryKind.SAID: "said",
    EntryKind.CALL: "called",
    EntryKind.OUTPUT: "output",
    EntryKind.SUMMARY: "earlier turns, summarised",
    EntryKind.NOTE: "note",
}
_STYLES = {
    EntryKind.INSTRUCTIONS: "dim",
    EntryKind.FACT: "dim",
    EntryKind.REASONING: "dim",
    EntryKind.CALL: "cyan",
    EntryKind.NOTE: "yellow",
}
_TAB_COLUMNS = 4
#: Said in place of a prompt.
_NO_PROMPT = "its prompt was not kept: an older codexteam ran it, or it has only just begun"


def show_transcripts(output: OutputStreams, found: Sequence[AgentTranscript]) -> None:
    """Print agents' transcripts, through the pager on a terminal."""
    if output.json_lines:
        output.records((transcript.as_json() for transcript in found), "show.completed")
        return
    with output.paged() as target:
        console = output.console(target)
        for number, transcript in enumerate(found):
            if number:
                console.print()
            print_transcript(console, transcript)


def show_receipts(output: OutputStreams, found: Sequence[AgentTranscript], home: Path) -> None:
    """Print what agents were started with, and where each value comes from."""
    if output.json_lines:
        output.records(({"type": "receipt", **transcript.receipt} for transcript in found), "show.completed")
        return
    for transcript in found:
        if transcript.receipt:
            output.write(agent_receipt_text(transcript.receipt, home))
        else:
            output.note(f"{transcript.key} has no receipt: its sandbox has not started")


def print_transcript(console: Console, transcript: AgentTranscript) -> None:
    """Print one agent's transcript; no line of it is cut."""
    for text, style in (*head_lines(transcript), *transcript_lines(transcript)):
        console.print(Text(text, style=style), soft_wrap=True)


def head_lines(transcript: AgentTranscript) -> Iterator[StyledLine]:
    """Yield who it is, what it cost, and how it ended."""
    row = transcript.row
    effort = f", {transcript.effort} effort" if transcript.effort else ""
    purpose = f", {transcript.key.purpose.value}" if transcript.key.task_id else ""
    yield foreign(f"{transcript.key}{purpose}: {row.model}{effort}").plain, "bold"
    spent = worth(row.usd, row.credits) if not row.unknown.bound.calls else cost(row.usd, row.unknown.bound)
    yield f"{count_of(row.turn, 'turn')}, {spent}, {usage_words(row.usage)}", ""
    if unknown := unknown_words(row.unknown.bound):
        yield unknown, "yellow"
    if transcript.is_at_work:
        yield "at work", "cyan"
    elif not row.done:
        yield "cut off; it continues at codexteam resume", "yellow"
    elif transcript.reason:
        yield foreign(f"ended: {transcript.reason}").plain, "yellow"
    else:
        yield f"ended: {in_words(row.state).lower() or 'done'}", ""


def transcript_lines(transcript: AgentTranscript) -> Iterator[StyledLine]:
    """Yield the lines of a transcript: what was asked, then turn by turn what was said, called and returned."""
    yield from prompt_lines(transcript.prompt)
    for turn in transcript.turns:
        yield from turn_lines(turn, is_at_work=transcript.is_at_work)


def prompt_lines(prompt: Sequence[TranscriptEntry]) -> Iterator[StyledLine]:
    """Yield what an agent was asked first."""
    yield "", ""
    if not prompt:
        yield _NO_PROMPT, "dim"
    yield from _entries(prompt)


def turn_lines(turn: TranscriptTurn, *, is_at_work: bool) -> Iterator[StyledLine]:
    """Yield the lines of one turn."""
    yield "", ""
    yield _turn_head(turn, is_at_work=is_at_work), "bold"
    yield from _entries(turn.entries)


def _turn_head(turn: TranscriptTurn, *, is_at_work: bool) -> str:
    usage = f": {usage_words(turn.usage)}" if turn.usage is not None else ""
    under_way = ", under way" if not turn.is_done and is_at_work else ""
    return f"turn {turn.number}{usage}{under_way}"


def _entries(entries: Iterable[TranscriptEntry]) -> Iterator[StyledLine]:
    for entry in entries:
        name = f" {foreign(entry.name).plain}" if entry.name else ""
        style = _STYLES.get(entry.kind, "")
        yield (
            f"{_HEADS[entry.kind]}{name}",
            f"{style} bold".strip() if entry.kind is EntryKind.CALL else style or "bold",
        )
        mark = "  | " if entry.kind is EntryKind.OUTPUT else "  "
        for line in escaped_lines(_readable(entry)):
            yield f"{mark}{line}".rstrip(), style


def _readable(entry: TranscriptEntry) -> str:
    """Return an entry's text; an answer in JSON is laid out."""
    if entry.kind is not EntryKind.SAID or not entry.text.lstrip().startswith("{"):
        return entry.text
    try:
        return json.dumps(json.loads(entry.text), indent=2, ensure_ascii=False)
    except ValueError:
        return entry.text


def escaped_lines(text: str) -> list[str]:
    """Return the lines of a foreign text, escaped, tabs as spaces."""
    return clean(text.replace("\r\n", "\n")).expandtabs(_TAB_COLUMNS).split("\n")
