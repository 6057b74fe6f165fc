from hypothesis import given
from hypothesis import strategies as st

from codexteam.agent.tools.clip import as_text, clip, tokens_of


@given(st.text(max_size=400), st.integers(1, 60))
def test_a_clipped_text_keeps_head_and_tail_and_accounts_for_the_rest(text: str, limit_tokens: int) -> None:
    clipped = clip(text, limit_tokens)
    size = len(text.encode())
    if size <= limit_tokens * 4:
        assert clipped.text == text
        assert clipped.left_out_bytes == 0
        return
    head, _, rest = clipped.text.partition("\n…")
    assert clipped.left_out_bytes > 0
    assert f"{clipped.left_out_bytes:,} of {size:,} bytes" in clipped.text
    tail = rest.partition("…\n")[2]
    if "…" not in text:
        assert text.startswith(head)
        assert text.endswith(tail)
        assert len(head.encode()) + len(tail.encode()) + clipped.left_out_bytes == size
        assert len(head.encode()) + len(tail.encode()) <= limit_tokens * 4


def test_cuts_fall_between_lines_where_lines_are_short() -> None:
    text = "".join(f"line {number:05}\n" for number in range(10_000))
    clipped = clip(text, 1_000)
    assert all(len(line) in {0, 10} or "truncated" in line for line in clipped.text.split("\n"))


def test_what_services_refuse_becomes_a_mark() -> None:
    assert as_text("a\0b") == "a\ufffdb"
    assert tokens_of(9) == 3
