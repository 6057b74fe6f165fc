"""The expressions of workflow files, against what the service documents."""

import pytest

from codexteam.core.ids import JSONValue
from codexteam.environment.expressions import (
    BadExpressionError,
    Scope,
    UnknownValueError,
    as_text,
    evaluate,
    fill_in,
    fill_in_value,
    holds,
)

SCOPE = Scope(
    {
        "matrix": {"os": "ubuntu-latest", "python-version": "3.12", "flags": ["a", "b"]},
        "env": {"NAME": "value", "EMPTY": ""},
        "runner": {"os": "Linux"},
        "github": {"event_name": "push", "event": {"labels": [{"name": "x"}, {"name": "y"}]}},
        "inputs": {},
    }
)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1 == 1.0", True),
        ("'A' == 'a'", True),
        ("'1' == 1", True),
        ("null == 0", True),
        ("'abc' == 0", False),
        ("true && 'x'", "x"),
        ("false && 'x'", False),
        ("'' || 'default'", "default"),
        ("!true", False),
        ("!!'x'", True),
        ("1 < 2 && 2 <= 2 && 3 > 2 && 3 >= 3", True),
        ("'b' > 'A'", True),
        ("matrix.os", "ubuntu-latest"),
        ("matrix['python-version']", "3.12"),
        ("MATRIX.OS", "ubuntu-latest"),
        ("matrix.flags[1]", "b"),
        ("matrix.flags[7]", None),
        ("matrix.nothing.below", None),
        ("join(github.event.labels.*.name, '+')", "x+y"),
        ("contains(matrix.flags, 'B')", True),
        ("contains('Hello', 'ell')", True),
        ("startsWith(matrix.os, 'Ubuntu')", True),
        ("endsWith('file.yml', '.YML')", True),
        ("format('{0}-{1} {{x}}', 'a', 2)", "a-2 {x}"),
        ("fromJSON('[1, 2]')[0]", 1),
        ("toJSON('a')", '"a"'),
        ("'it''s'", "it's"),
        ("success()", True),
        ("failure()", False),
        ("always() && !cancelled()", True),
        ("secrets.TOKEN || 'none'", "none"),
        ("false && secrets.TOKEN", False),
        ("secrets.TOKEN && false", False),
        ("case(false, 'a', true, 'b', 'c')", "b"),
        ("(1 == 1) && ((2 == 2))", True),
        ("0x10 == 16", True),
        ("-1 < 0", True),
        ("1e3 == 1000", True),
    ],
)
def test_an_expression_has_the_value_that_the_service_gives_it(text: str, value: JSONValue) -> None:
    assert evaluate(text, SCOPE) == value


@pytest.mark.parametrize(
    "text", ["secrets.TOKEN", "needs.build.outputs.x", "steps.a.outputs.b == 'x'", "true && vars.X"]
)
def test_what_only_a_run_knows_is_named(text: str) -> None:
    with pytest.raises(
        UnknownValueError, match=r"secrets\.TOKEN|needs\.build\.outputs\.x|steps\.a\.outputs\.b|vars\.X"
    ):
        evaluate(text, SCOPE)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "1 +",
        "'open",
        "a b",
        "nothing(1)",
        "fromJSON('{')",
        "format('{5}', 1)",
        "(" * 500,
        "!" * 9000,
        "a." * 3000,
        "x[",
        ")",
    ],
)
def test_a_text_that_is_no_expression_is_one_error(text: str) -> None:
    with pytest.raises(BadExpressionError):
        evaluate(text, SCOPE)


def test_expressions_within_a_text_are_replaced() -> None:
    assert fill_in("py${{ matrix.python-version }} on ${{ runner.os }}", SCOPE) == "py3.12 on Linux"


def test_a_value_that_is_nothing_but_an_expression_keeps_its_type() -> None:
    assert fill_in_value("${{ matrix.flags }}", SCOPE) == ["a", "b"]
    assert fill_in_value("${{ fromJSON('{\"a\": true}') }}", SCOPE) == {"a": True}


@pytest.mark.parametrize(
    ("condition", "runs"),
    [
        (None, True),
        (False, False),
        ("runner.os == 'Linux'", True),
        ("${{ runner.os == 'Windows' }}", False),
        ("matrix.os != 'ubuntu-latest'", False),
        ("github.event_name == 'push' && env.NAME", True),
    ],
)
def test_a_condition_holds_as_on_the_service(condition: JSONValue, runs: bool) -> None:
    assert holds(condition, SCOPE) is runs


def test_numbers_are_texts_without_a_needless_point() -> None:
    assert [as_text(3.0), as_text(3.5), as_text(None), as_text(True)] == ["3", "3.5", "", "true"]
