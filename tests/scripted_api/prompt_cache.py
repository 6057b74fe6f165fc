"""Counting cached input as a provider does: by exact prefix, in blocks of 128 tokens."""

import hashlib
import json

from codexteam.core.ids import JSONObject

BYTES_PER_TOKEN = 4
BLOCK_TOKENS = 128


class PromptCache:
    """Prefixes seen so far. A request counts from the moment its answer begins."""

    def __init__(self, minimum_tokens: int) -> None:
        self._seen: set[bytes] = set()
        self._minimum_tokens = minimum_tokens

    def look_up(self, body: JSONObject) -> "Prompt":
        """Measure a request against what was answered before."""
        prompt = _prompt_bytes(body)
        size = BLOCK_TOKENS * BYTES_PER_TOKEN
        chain = hashlib.blake2b(digest_size=16)
        blocks = []
        for start in range(0, len(prompt) - size + 1, size):
            chain.update(prompt[start : start + size])
            blocks.append(chain.digest())
        cached = 0
        for block in blocks:
            if block not in self._seen:
                break
            cached += BLOCK_TOKENS
        if cached < self._minimum_tokens:
            cached = 0
        return Prompt(-(-len(prompt) // BYTES_PER_TOKEN), cached, blocks)

    def keep(self, prompt: "Prompt") -> None:
        """Remember a request's prefixes."""
        self._seen.update(prompt.blocks)


class Prompt:
    """A measured request."""

    def __init__(self, tokens: int, cached_tokens: int, blocks: list[bytes]) -> None:
        self.tokens = tokens
        self.cached_tokens = cached_tokens
        self.blocks = blocks


def _prompt_bytes(body: JSONObject) -> bytes:
    # the order in which providers put a prompt together; everything else of a request is not a part of it
    parts = [body.get("model"), body.get("tools"), body.get("text"), body.get("instructions")]
    inputs = body.get("input")
    if isinstance(inputs, list):
        parts.extend(inputs)
    return "\n".join(json.dumps(part, separators=(",", ":")) for part in parts).encode()
