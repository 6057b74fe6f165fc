"""Rules on the tests themselves: what they may patch and touch, and that each port has its contract."""

import ast

from tests.unit.rules.source import modules, modules_of_tests

#: Ports of one small implementation each, tested where that is.
_WITHOUT_CONTRACT = {"clock", "hooks", "reporter", "run_files", "scanner", "symbol_index"}
_PATCHES = ("setattr", "delattr", "setitem")
#: What unit tests do without: other programs, containers, git, and the tests' own servers and repositories.
_OUTSIDE = {"docker", "git", "sqlite3", "tests.scripted_api", "tests.support_git", "tests.support_processes"}


def test_our_own_code_is_never_patched() -> None:
    """`monkeypatch.setattr` is for what is not ours, and `unittest.mock` is not needed."""
    found = []
    for source in modules_of_tests():
        found += [source.name for module in ("mock", "unittest.mock") if module in source.imports]
        if not any(word in source.text for word in _PATCHES):
            continue
        ours = {each.alias or each.name for each in source.imported_names if each.module.startswith("codexteam")}
        calls = (node for node in ast.walk(source.tree) if isinstance(node, ast.Call))
        found += [f"{source.name}:{call.lineno}" for call in calls if _patches(call, ours | {"codexteam"})]
    assert found == []


def _patches(call: ast.Call, ours: set[str]) -> bool:
    if not isinstance(call.func, ast.Attribute) or call.func.attr not in _PATCHES or not call.args:
        return False
    target = call.args[0]
    if isinstance(target, ast.Constant):
        return str(target.value).startswith("codexteam")
    return ast.unparse(target).partition(".")[0] in ours


def test_every_port_has_a_contract_that_its_fake_passes_too() -> None:
    """A test in `tests/contract` names the port's protocol or its values, and a fake or another contract."""
    contracts = {source.name: source.imports for source in modules_of_tests("contract")}
    held = {port for used in contracts.values() for port in used if port.startswith("codexteam.ports.")}
    ports = {
        source.name.removeprefix("ports/").removesuffix(".py")
        for source in modules("ports/")
        for node in source.tree.body
        if isinstance(node, ast.ClassDef) and any(ast.unparse(base) == "Protocol" for base in node.bases)
    }
    assert {port for port in ports - _WITHOUT_CONTRACT if f"codexteam.ports.{port}" not in held} == set()
    assert [
        name
        for name, used in contracts.items()
        if not any(one.startswith(("tests.fakes.", "tests.contract.")) for one in used)
    ] == []


def test_unit_tests_use_no_engine_no_git_and_no_server() -> None:
    found = [f"{source.name}: {module}" for source in modules_of_tests("unit") for module in source.imports & _OUTSIDE]
    assert found == []
