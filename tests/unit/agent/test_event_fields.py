import pytest

from codexteam.agent.event_fields import action_words


@pytest.mark.parametrize(
    ("tool", "what", "words"),
    [
        ("exec_command", '{"cmd": "pytest -q \\"a b\\"\\nls", "workdir": "x"}', 'pytest -q "a b" ; ls'),
        ("exec_command", '{"cmd": "a very long line that is cut he', "a very long line that is cut he…"),
        (
            "apply_patch",
            '{"input": "*** Begin Patch\\n*** Add File: a/b.py\\n+x\\n*** Delete File: c"}',
            "patch a/b.py, c",
        ),
        ("apply_patch", "*** Begin Patch", "apply_patch *** Begin Patch"),
        ("view_image", '{"path": "a.png"}', 'view_image {"path": "a.png"}'),
        ("mcp__x__y", "", "mcp__x__y"),
    ],
)
def test_a_tool_call_is_said_in_few_words(tool: str, what: str, words: str) -> None:
    assert action_words(tool, what) == words
