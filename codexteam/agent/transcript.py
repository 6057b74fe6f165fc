"""The items of one agent: what stays at the front, and the turns behind it, with their size kept up to date."""

import hashlib
import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from codexteam.core.budget_amounts import Usage, most_input_tokens
from codexteam.core.ids import JSONObject

#: What a picture counts for where only bytes are compared: its data is not text.
_IMAGE_BYTES = 4_096


@dataclass(frozen=True, slots=True)
class Size:
    """How large items are: the bytes of their JSON, data of pictures left out, and how many pictures."""

    text_bytes: int = 0
    images: int = 0

    def __add__(self, other: "Size") -> "Size":
        return Size(self.text_bytes + other.text_bytes, self.images + other.images)

    @property
    def weight_bytes(self) -> int:
        """One number, for comparing."""
        return self.text_bytes + self.images * _IMAGE_BYTES


def size_of(item: JSONObject, written: bytes | None = None) -> Size:
    """Measure an item; `written` is its `as_bytes`, where that is at hand."""
    text = as_bytes(item) if written is None else written
    images = 0
    picture_bytes = 0
    output = item.get("output")
    for part in output if isinstance(output, list) else ():
        if isinstance(part, dict) and part.get("type") == "input_image":
            images += 1
            picture_bytes += len(str(part.get("image_url", "")))
    return Size(len(text) - picture_bytes, images)


def as_bytes(value: object) -> bytes:
    """Return the bytes that a request has for a value, or more: escapes make them longer, never shorter."""
    return json.dumps(value, separators=(",", ":")).encode("ascii")


def user_item(text: str) -> JSONObject:
    """Return a message of the user's side."""
    return {"type": "message", "role": "user", "content": [{"type": "input_text", "text": text}]}


def text_of(items: Sequence[JSONObject]) -> str:
    """Return the text of the last message of an answer, without refusals."""
    for item in reversed(items):
        if item.get("type") == "message":
            content = item.get("content")
            parts = content if isinstance(content, list) else []
            texts = [str(part.get("text", "")) for part in parts if isinstance(part, dict) and "text" in part]
            return "".join(texts)
    return ""


@dataclass(slots=True)
class Block:
    """One turn: the answer's items, then the outputs and messages that follow it."""

    items: list[JSONObject]
    size: Size


@dataclass(slots=True)
class Transcript:
    """What a request's `input` is made of."""

    prompt: tuple[JSONObject, ...]
    """Facts, then the task: never left out."""
    fixed: tuple[object, ...] = ()
    """What else each request holds: instructions, tools, the output schema."""
    blocks: list[Block] = field(default_factory=list)
    _fixed_size: Size = field(init=False)
    _size: Size = field(init=False)
    _known_tokens: int = field(init=False, default=0)
    _since: Size = field(init=False)
    _digest: "hashlib._Hash" = field(init=False)

    def __post_init__(self) -> None:
        self._fixed_size = Size(sum(len(as_bytes(part)) for part in self.fixed))
        self._recount()

    def input(self) -> tuple[JSONObject, ...]:
        """Return all items, oldest first."""
        return (*self.prompt, *(item for block in self.blocks for item in block.items))

    @property
    def size(self) -> Size:
        """The size of a request with these items."""
        return self._size

    @property
    def hash(self) -> str:
        """SHA-256 of everything that makes the request, hexadecimal."""
        return self._digest.copy().hexdigest()

    def most_input_tokens(self) -> int:
        """Return a bound on the input tokens of the next request."""
        return most_input_tokens(self._since.text_bytes, self._since.images, known_tokens=self._known_tokens)

    def likely_tokens(self) -> int:
        """Return about how full the context is: what the service counted, and four bytes a token for what is new."""
        return self._known_tokens + self._since.weight_bytes // 4

    def begin(self, items: Iterable[JSONObject], usage: Usage | None = None) -> None:
        """Start a turn with its answer. With a usage, the request before it and these items are counted for good."""
        answer = list(items)
        added = self._count(answer)
        self.blocks.append(Block(answer, added))
        if usage is not None:
            self._known_tokens = usage.input_tokens + usage.output_tokens
            self._since = Size()

    def follow(self, items: Iterable[JSONObject]) -> None:
        """Add what follows the answer: outputs, messages."""
        more = list(items)
        if not more:
            return
        added = self._count(more)
        if not self.blocks:
            self.blocks.append(Block([], Size()))
        block = self.blocks[-1]
        block.items.extend(more)
        block.size += added

    def fix_anew(self, fixed: tuple[object, ...]) -> None:
        """Put other things beside the items of each request: more tools."""
        size = Size(sum(len(as_bytes(part)) for part in fixed))
        # what a service counted holds, for what it counted
        more = Size(max(0, size.text_bytes - self._fixed_size.text_bytes))
        self.fixed, self._fixed_size = fixed, size
        self._size += more
        self._since += more
        for part in fixed:
            self._digest.update(as_bytes(part))

    def replace(self, blocks: Sequence[Block]) -> None:
        """Put other turns in place of all of them; nothing that a service counted holds any more."""
        self.blocks = list(blocks)
        self._recount()

    def _count(self, items: Sequence[JSONObject]) -> Size:
        total = Size()
        for item in items:
            written = as_bytes(item)
            self._digest.update(written)
            total += size_of(item, written)
        self._size += total
        self._since += total
        return total

    def _recount(self) -> None:
        self._digest = hashlib.sha256()
        for part in self.fixed:
            self._digest.update(as_bytes(part))
        self._size = self._fixed_size
        self._since = self._fixed_size
        self._known_tokens = 0
        self._count(self.prompt)
        for block in self.blocks:
            self._count(block.items)


def block_of(items: Iterable[JSONObject]) -> Block:
    """Measure items as one block."""
    listed = list(items)
    total = Size()
    for item in listed:
        total += size_of(item)
    return Block(listed, total)
