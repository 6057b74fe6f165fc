"""Which kept environments are removed."""

from codexteam.environment.pruning import UNUSED_SECONDS, KeptEnvironment, expired

NOW = 10 * UNUSED_SECONDS
GIB = 1 << 30


def _kept(key: str, age_seconds: float, size_bytes: int = GIB) -> KeptEnvironment:
    return KeptEnvironment(key, NOW - age_seconds, size_bytes)


def test_what_was_used_lately_and_has_room_stays() -> None:
    assert expired([_kept("a", 60), _kept("b", 3600)], now_seconds=NOW, limit_bytes=20 * GIB) == ()


def test_what_nobody_used_for_long_is_removed() -> None:
    kept = [_kept("old", UNUSED_SECONDS + 1), _kept("new", 60)]

    assert expired(kept, now_seconds=NOW, limit_bytes=20 * GIB) == ("old",)


def test_without_room_the_least_recently_used_are_removed_first() -> None:
    kept = [_kept("b", 300), _kept("a", 60), _kept("c", 600)]

    assert expired(kept, now_seconds=NOW, limit_bytes=GIB) == ("c", "b")


def test_what_is_in_use_stays_however_old_it_is() -> None:
    kept = [_kept("used", 2 * UNUSED_SECONDS), _kept("other", 60)]

    assert expired(kept, now_seconds=NOW, limit_bytes=0, in_use={"used"}) == ("other",)
