"""The words of code and of prose brought together, and what of a repository's code a text is about by them. Pure.

`parseHTTPHeader` and "parse the HTTP header" share three words.
"""

import math
import re
from collections import Counter, defaultdict
from collections.abc import Hashable, Mapping, Sequence
from functools import lru_cache
from typing import TypeVar

_WORD = re.compile(r"[^\W_]{2,60}")
_CAMEL = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|\d+")
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]{2,80}")

#: How often a word counts at most: twenty uses of a name say little more than three.
_MOST_REPEATS = 3

_STOP = (
    "a about add added adds after again all allow also always an and another any are as at be because been before "
    "being but by can cannot change changed changes closes could do does don down each etc ever every fix fixed fixes "
    "fixing for from get gets got had has have here how if improve in instead into is isn it its just keep let like "
    "make makes may merge minor more most must my need needs never new no nor not now of off on one only or other our "
    "out over per please pr pull rather remove removed request same should signed since so some still such support "
    "than that the their them then there these they this those through to too under until up update updated updates "
    "us use used using very via was we were what when where which while who why will with within without work works "
    "would yet you your "
)
#: Words of goals that say nothing of where in the code.
STOP_WORDS = frozenset(_STOP.split())


def words_of(text: str) -> list[str]:
    """Return the words of a text in lower case; a name of several also gives its parts."""
    words: list[str] = []
    for word in _WORD.findall(text):
        lower = word.lower()
        words.append(lower)
        if lower != word and word.isascii() and len(parts := _CAMEL.findall(word)) > 1:
            words += [part.lower() for part in parts if len(part) > 1]
    return words


def counted_words(text: str) -> str:
    """Return a text's words for a full-text index, without order, each a few times at most."""
    counts = Counter(words_of(text))
    return " ".join(" ".join([word] * min(count, _MOST_REPEATS)) for word, count in counts.items())


def names_in(text: str) -> set[str]:
    """Return what could be the name of something that is defined elsewhere."""
    return set(_NAME.findall(text))


def search_words(text: str, *, most: int) -> list[str]:
    """Return the words of a goal that say where in the code it is about, each once, in order."""
    found = (word for word in words_of(text) if word not in STOP_WORDS and not word.isdigit())
    return list(dict.fromkeys(found))[:most]


_Node = TypeVar("_Node", bound=Hashable)

#: What a path counts for that the text names literally, by its file name or whole.
_NAMED = 12.0
_ENDINGS = ("ing", "ed", "es", "s")


@lru_cache(maxsize=1 << 16)
def stem(word: str) -> str:
    """Return a word without its English ending, roughly."""
    ending = next((each for each in _ENDINGS if word.endswith(each) and len(word) - len(each) > 2), "")
    return word.removesuffix(ending)


@lru_cache(maxsize=1 << 17)
def _stems_of(path: bytes) -> tuple[frozenset[str], str]:
    """Return the words of a path, and the file name in it where a text that has it means the file.

    Kept, since most paths are the same in the next commit and for the next task.
    """
    shown = path.decode("utf-8", "replace")
    name = shown.rpartition("/")[2]
    return frozenset(stem(word) for word in words_of(shown)), name if "." in name and len(name) > 4 else ""


_FILE_WORD = re.compile(r"[^\s/\\`'\"()\[\]{}<>|,;:!?*=]+")


def _file_words(text: str) -> set[str]:
    """Return what may be a file's name in a text."""
    words = _FILE_WORD.findall(text)
    return {*words, *(word.rstrip(".") for word in words)}


def path_scores(paths: Sequence[bytes], words: Sequence[str], text: str) -> dict[bytes, float]:
    """Return the paths that share words with a text, or are named in it; a word in few paths counts for more."""
    wanted = {stem(word) for word in words}
    named = _file_words(text)
    holding: dict[str, list[bytes]] = defaultdict(list)
    lengths: dict[bytes, int] = {}
    scores: dict[bytes, float] = defaultdict(float)
    for path in paths:
        found, name = _stems_of(path)
        if not wanted.isdisjoint(found):
            lengths[path] = len(found)
            for word in wanted & found:
                holding[word].append(path)
        if name in named:
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
