"""The words of code and of prose, brought together: `parseHTTPHeader` and "parse the HTTP header" share three."""

import re
from collections import Counter

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
