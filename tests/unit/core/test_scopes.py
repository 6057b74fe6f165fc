import pytest

from codexteam.core.paths import scopes_overlap


@pytest.mark.parametrize(
    ("one", "other", "meets"),
    [
        pytest.param(["src/a.py"], ["src/a.py"], True, id="same file"),
        pytest.param(["src/a.py"], ["src/b.py"], False, id="other file"),
        pytest.param(["src/"], ["src/deep/b.py"], True, id="folder holds what is below"),
        pytest.param(["src"], ["src2/b.py"], False, id="folder name is not a prefix"),
        pytest.param(["src/*.py"], ["src/b.py"], True, id="star"),
        pytest.param(["src/*.py"], ["src/b.md"], False, id="other ending"),
        pytest.param(["src/*.py"], ["src/test_*"], True, id="two stars in a name"),
        pytest.param(["**/*.md"], ["docs/x/readme.md"], True, id="double star"),
        pytest.param(["**"], ["x"], True, id="everything"),
        pytest.param(["A.py"], ["a.py"], True, id="case"),
        pytest.param(["a[12].py"], ["a1.py"], True, id="class"),
        pytest.param(["./a.py"], ["a.py"], True, id="leading dot"),
        pytest.param([], ["a.py"], False, id="unsaid"),
    ],
)
def test_scopes_overlap_when_one_path_can_match_both(one: list[str], other: list[str], meets: bool) -> None:
    assert scopes_overlap(one, other) is meets
    assert scopes_overlap(other, one) is meets
