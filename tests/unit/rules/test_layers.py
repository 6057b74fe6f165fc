"""Rules on the package that imports alone do not show; import-linter checks those that they do."""

import ast
import re
from collections import defaultdict

from tests.unit.rules.source import modules

#: What may write to the terminal; and programs that run inside sandboxes, whose output is their protocol.
_WRITERS = ("cli/", "views/", "__main__.py", "adapters/sandbox/server", "adapters/sandbox/network/relay.py")
_IN_SANDBOXES = ("agent/patch/program.py",)
#: A process of its own on the host, whose output is its protocol too.
_HELPERS = ("adapters/code_map/parse_worker.py",)


def test_only_cli_and_views_use_the_standard_streams() -> None:
    found = [
        f"{source.name}:{node.lineno}"
        for source in modules()
        if "sys.std" in source.text and not source.name.startswith((*_WRITERS, *_IN_SANDBOXES, *_HELPERS))
        for node in ast.walk(source.tree)
        if isinstance(node, ast.Attribute)
        and node.attr in {"stdin", "stdout", "stderr"}
        and isinstance(node.value, ast.Name)
        and node.value.id == "sys"
    ]
    assert found == []


def test_ports_hold_protocols_and_values_without_behaviour() -> None:
    found = [
        f"{source.name}: {problem}"
        for source in modules("ports/")
        for node in source.tree.body
        for problem in (_behaviour(node) if isinstance(node, ast.ClassDef) else _statement(node))
    ]
    assert found == []


def _statement(node: ast.stmt) -> list[str]:
    allowed = (ast.Import, ast.ImportFrom, ast.Assign, ast.AnnAssign, ast.Expr, ast.If)
    return [] if isinstance(node, allowed) else [f"{ast.unparse(node).splitlines()[0]} is not a class"]


def _behaviour(node: ast.ClassDef) -> list[str]:
    """Name the methods that do more than answer from a value's own fields."""
    methods = [part for part in node.body if isinstance(part, ast.FunctionDef | ast.AsyncFunctionDef)]
    return [f"{node.name}.{method.name}" for method in methods if not _is_plain(method)]


def _is_plain(method: ast.FunctionDef | ast.AsyncFunctionDef) -> bool:
    body = [part for part in method.body if not _is_constant(part)]
    only_answers = len(body) == 1 and isinstance(body[0], ast.Return) and isinstance(method, ast.FunctionDef)
    return not body or (only_answers and not any(isinstance(part, ast.Await) for part in ast.walk(body[0])))


def _is_constant(node: ast.stmt) -> bool:
    """Whether a statement is a docstring or `...`."""
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)


def test_core_holds_nothing_that_only_adapters_use() -> None:
    users = defaultdict(set)
    for source in modules():
        for imported in source.imports:
            users[imported].add(source.name.partition("/")[0])
    core = [f"codexteam.core.{source.name.removeprefix('core/').removesuffix('.py')}" for source in modules("core/")]
    assert [name for name in core if users[name] == {"adapters"}] == []


def test_errors_that_end_a_command_are_in_one_module() -> None:
    (errors,) = modules("errors.py")
    ours = {node.name for node in errors.tree.body if isinstance(node, ast.ClassDef)}
    based_on = re.compile(rf"^\s*class \w+\([^)]*\b({'|'.join(ours)})\b", re.MULTILINE)
    found = [
        f"{source.name}: {node.name}"
        for source in modules()
        if source is not errors and based_on.search(source.text)
        for node in ast.walk(source.tree)
        if isinstance(node, ast.ClassDef) and ours & {base.id for base in node.bases if isinstance(base, ast.Name)}
    ]
    assert found == []


def test_no_cancellation_is_suppressed() -> None:
    found = [
        f"{source.name}:{node.lineno}"
        for source in modules()
        if "suppress(" in source.text and ("CancelledError" in source.text or "BaseException" in source.text)
        for node in ast.walk(source.tree)
        if isinstance(node, ast.Call) and getattr(node.func, "attr", getattr(node.func, "id", "")) == "suppress"
        if any("CancelledError" in ast.unparse(part) or ast.unparse(part) == "BaseException" for part in node.args)
    ]
    assert found == []
