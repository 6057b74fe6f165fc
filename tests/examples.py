"""How many inputs a property is held against: all of them with `--complete`, a fifth otherwise."""

from typing import Final

from hypothesis import settings

#: Hypothesis's own number, which the profile of the complete check keeps.
COMPLETE_EXAMPLES: Final = 100
QUICK_EXAMPLES: Final = 20


def examples(complete: int) -> int:
    """Return `max_examples` for a property that the complete check holds against `complete` inputs."""
    return max(10, complete * settings().max_examples // COMPLETE_EXAMPLES)
