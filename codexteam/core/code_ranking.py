"""What of a repository's code a text is about: by the words of paths, and by who refers to what. Pure."""

import math
from collections import defaultdict
from collections.abc import Hashable, Mapping, Sequence
from typing import TypeVar

from codexteam.core.code_words import words_of

_Node = TypeVar("_Node", bound=Hashable)

#: What a path counts for that the text names literally, by its file name or whole.
_NAMED = 12.0
_ENDINGS = ("ing", "ed", "es", "s")


def stem(word: str) -> str:
    """Return a word without its English ending, roughly."""
    ending = next((each for each in _ENDINGS if word.endswith(each) and len(word) - len(each) > 2), "")
    return word.removesuffix(ending)


def path_scores(paths: Sequence[bytes], words: Sequence[str], text: str) -> dict[bytes, float]:
    """Return the paths that share words with a text, or are named in it; a word in few paths counts for more."""
    wanted = {stem(word) for word in words}
    holding: dict[str, list[bytes]] = defaultdict(list)
    lengths: dict[bytes, int] = {}
    scores: dict[bytes, float] = defaultdict(float)
    for path in paths:
        shown = path.decode("utf-8", "replace")
        found = {stem(word) for word in words_of(shown)}
        lengths[path] = len(found)
        for word in wanted & found:
            holding[word].append(path)
        name = shown.rpartition("/")[2]
        if "." in name and len(name) > 4 and name in text:
            scores[path] += _NAMED
    for holders in holding.values():
        rarity = math.log(1 + len(paths) / len(holders))
        for path in holders:
            scores[path] += rarity / math.sqrt(lengths[path])
    return dict(scores)


def page_rank(
    edges: Mapping[_Node, Mapping[_Node, float]],
    start: Mapping[_Node, float],
    *,
    damping: float = 0.8,
    rounds: int = 15,
) -> dict[_Node, float]:
    """Return how often each node is come to by who follows edges and begins again, now and then, as `start` says.

    Args:
        edges: from a node to what it refers to, with weights; nodes without any begin again.
        start: weights of where to begin.
        damping: the share of steps that follow an edge.
        rounds: steps that are taken.
    """
    whole = sum(start.values())
    if not whole:
        return {}
    begin = {node: weight / whole for node, weight in start.items()}
    ranks = dict(begin)
    for _ in range(rounds):
        following: dict[_Node, float] = defaultdict(float)
        again = 1 - damping
        for node, rank in ranks.items():
            targets = edges.get(node, {})
            total = sum(targets.values())
            if not total:
                again += damping * rank
                continue
            for target, weight in targets.items():
                following[target] += damping * rank * weight / total
        for node, share in begin.items():
            following[node] += again * share
        ranks = dict(following)
    return ranks


def twin_names(path: bytes) -> str:
    """Return what a file and its tests have in common: `load` for `load.py`, `test_load.py` and `load.spec.ts`."""
    name = path.decode("utf-8", "replace").rpartition("/")[2].partition(".")[0].lower()
    parts = [
        part for part in words_of(name.replace("_", " ").replace("-", " ")) if part not in {"test", "tests", "spec"}
    ]
    return " ".join(parts)


def shared_out(amounts: Mapping[_Node, float]) -> dict[_Node, float]:
    """Return amounts as shares of the largest."""
    most = max(amounts.values(), default=0.0)
    return {node: amount / most for node, amount in amounts.items()} if most else {}
