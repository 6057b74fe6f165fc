"""Rules on the tests themselves: what they may patch and touch, and that each port has its contract."""

import ast

from tests.unit.rules.source import imports_of, modules, modules_of_tests

#: Ports of one small implementation each, tested where that is.
_WITHOUT_CONTRACT = {"clock", "hooks", "reporter", "run_files", "scanner", "symbol_index"}
#: What unit tests do without: other programs, containers, git, and the tests' own servers and repositories.
_OUTSIDE = {"docker", "git", "sqlite3", "tests.scripted_api", "tests.support_git", "tests.support_processes"}


def test_our_own_code_is_never_patched() -> None:
    """`monkeypatch.setattr` is for what is not ours, and `unittest.mock` is not needed."""
    found = []
    for name, tree in modules_of_tests():
        ours = {
            alias.asname or alias.name.partition(".")[0]
            for node in ast.walk(tree)
            if isinstance(node, ast.Import | ast.ImportFrom)
            for alias in node.names
            if ((isinstance(node, ast.ImportFrom) and node.module) or alias.name).startswith("codexteam")
        }
        found += [
            f"{name}:{call.lineno}" for call in ast.walk(tree) if isinstance(call, ast.Call) and _patches(call, ours)
        ]
        found += [
            name for module in imports_of(tree) if module.partition(".")[0] == "mock" or module == "unittest.mock"
        ]
    assert found == []


def _patches(call: ast.Call, ours: set[str]) -> bool:
    if (
        not isinstance(call.func, ast.Attribute)
        or call.func.attr not in {"setattr", "delattr", "setitem"}
        or not call.args
    ):
        return False
    target = call.args[0]
    if isinstance(target, ast.Constant):
        return str(target.value).startswith("codexteam")
    return ast.unparse(target).partition(".")[0] in ours


def test_every_port_has_a_contract_that_its_fake_passes_too() -> None:
    """A test in `tests/contract` names the port's protocol or its values, and a fake or another contract."""
    contracts = {name: imports_of(tree) for name, tree in modules_of_tests("contract")}
    held = {port for used in contracts.values() for port in used if port.startswith("codexteam.ports.")}
    ports = {
        name.removeprefix("ports/").removesuffix(".py")
        for name, tree in modules("ports/")
        for node in tree.body
        if isinstance(node, ast.ClassDef) and any(ast.unparse(base) == "Protocol" for base in node.bases)
    }
    assert {port for port in ports - _WITHOUT_CONTRACT if f"codexteam.ports.{port}" not in held} == set()
    assert [
        name
        for name, used in contracts.items()
        if not any(one.startswith(("tests.fakes.", "tests.contract.")) for one in used)
    ] == []


def test_unit_tests_use_no_engine_no_git_and_no_server() -> None:
    found = [f"{name}: {module}" for name, tree in modules_of_tests("unit") for module in imports_of(tree) & _OUTSIDE]
    assert found == []
