"""Run real test runners on small projects and keep what they print: `python record.py [NAME...]`, from this folder.

Writes `recorded.jsonl`, a line a case: name, command, exit code, output and the ending that is right for it. Runners
that are not installed are left as they were recorded before. Needs npm for the JavaScript ones.
"""

import json
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

FILE = Path(__file__).with_name("recorded.jsonl")
GOOD_PY = "def test_a():\n    assert 1 == 1\n\ndef test_b():\n    assert True\n"
BAD_PY = GOOD_PY + "\ndef test_c():\n    assert 1 == 2\n"
UNIT = "import unittest\nclass T(unittest.TestCase):\n    def test_a(self): self.assertEqual(1, {})\n"
GO = 'package a\nimport "testing"\nfunc TestA(t *testing.T) {{ if {} {{ t.Fatal("no") }} }}\n'
NODE = "const t = require('node:test'); const a = require('node:assert'); t('one', () => a.equal(1, {}));\n"
JS = "test('one', () => {{ expect(1).toBe({}) }});\n"
VITE = "import {{ test, expect }} from 'vitest'; test('one', () => {{ expect(1).toBe({}) }});\n"
JASMINE = "it('one', () => {{ expect(1).toBe({}) }}); xit('two', () => {{}});\n"
MOCHA = "const a = require('assert'); it('one', () => a.equal(1, {}));\n"
CARGO = {"Cargo.toml": '[package]\nname = "a"\nversion = "0.1.0"\nedition = "2021"\n'}
RS = "#[test]\nfn one() {{ assert_eq!(1, {}); }}\n"

#: name: (what must be on the path, files, command, the right ending)
CASES: dict[str, tuple[str, dict[str, str], str, str]] = {
    "pytest-pass": ("pytest", {"test_a.py": GOOD_PY}, "pytest", "passed"),
    "pytest-quiet": ("pytest", {"test_a.py": GOOD_PY}, "pytest -q", "passed"),
    "pytest-fail": ("pytest", {"test_a.py": BAD_PY}, "pytest -q", "failed"),
    "pytest-verbose-fail": ("pytest", {"test_a.py": BAD_PY}, "python -m pytest -v", "failed"),
    "pytest-none": ("pytest", {"a.py": ""}, "pytest", "nothing_ran"),
    "pytest-deselected": ("pytest", {"test_a.py": GOOD_PY}, "pytest -k nothing", "nothing_ran"),
    "pytest-skipped": ("pytest", {"test_a.py": "import pytest\n@pytest.mark.skip\ndef test_a(): pass\n"}, "pytest", "nothing_ran"),
    "pytest-import": ("pytest", {"test_a.py": "import nosuchthing\n"}, "pytest", "cannot_run"),
    "pytest-syntax": ("pytest", {"test_a.py": "def (\n"}, "pytest -q", "cannot_run"),
    "pytest-conftest": ("pytest", {"conftest.py": "import nosuchthing\n", "test_a.py": GOOD_PY}, "pytest", "cannot_run"),
    "pytest-option": ("pytest", {"test_a.py": GOOD_PY}, "pytest --cov=a", "cannot_run"),
    "pytest-plugin": ("pytest", {"pytest.ini": "[pytest]\nrequired_plugins = nosuch\n", "test_a.py": GOOD_PY}, "pytest", "cannot_run"),
    "pytest-path": ("pytest", {"test_a.py": GOOD_PY}, "pytest tests/test_new.py", "cannot_run"),
    "pytest-node": ("pytest", {"test_a.py": GOOD_PY}, "pytest test_a.py::test_new", "cannot_run"),
    "pytest-fixture": ("pytest", {"test_a.py": "def test_a(nosuch): pass\n"}, "pytest -q", "failed"),
    "pytest-network": ("pytest", {"test_a.py": GOOD_PY + "def test_n():\n    import socket; socket.create_connection(('no.such.invalid', 80))\n"}, "pytest -q", "failed"),
    "pytest-missing": ("python3", {"test_a.py": GOOD_PY}, "no-such-pytest -q", "cannot_run"),
    "python-module": ("python3", {}, "/usr/bin/env -i /usr/bin/python3 -m pytest", "cannot_run"),
    "unittest-pass": ("python3", {"test_a.py": UNIT.format(1)}, "python3 -m unittest", "passed"),
    "unittest-fail": ("python3", {"test_a.py": UNIT.format(2)}, "python3 -m unittest", "failed"),
    "unittest-none": ("python3", {"a.py": ""}, "python3 -m unittest", "nothing_ran"),
    "unittest-import": ("python3", {"test_a.py": "import nosuchthing\n"}, "python3 -m unittest", "cannot_run"),
    "unittest-skip": ("python3", {"test_a.py": "import unittest\n@unittest.skip('x')\nclass T(unittest.TestCase):\n    def test_a(self): pass\n"}, "python3 -m unittest", "nothing_ran"),
    "make-none": ("make", {"a": ""}, "make test", "cannot_run"),
    "make-missing": ("make", {"Makefile": "test:\n\tno-such-program\n"}, "make test", "cannot_run"),
    "make-fail": ("make", {"Makefile": "test:\n\t@pytest -q\n", "test_a.py": BAD_PY}, "make test", "failed"),
    "make-folder": ("make", {"Makefile": "all:\n\t@echo\n", "test/a": ""}, "make test", "nothing_ran"),
    "make-check-fail": ("make", {"Makefile": "test:\n\t@grep -q x a\n", "a": ""}, "make test", "failed"),
    "tox-env": ("tox", {"tox.ini": "[tox]\nenv_list = a\n[testenv]\nskip_install = true\ncommands = no-such-thing\n"}, "tox -e a", "cannot_run"),
    "tox-option": ("tox", {"tox.ini": "[tox]\nenv_list = a\n"}, "tox --nosuch", "cannot_run"),
    "nox-none": ("nox", {}, "nox", "cannot_run"),
    "nox-session": ("nox", {"noxfile.py": "import nox\n@nox.session(venv_backend='none')\ndef a(s): s.run('true', external=True)\n"}, "nox -s b", "cannot_run"),
    "nox-program": ("nox", {"noxfile.py": "import nox\n@nox.session(venv_backend='none')\ndef a(s): s.run('no-such', external=True)\n"}, "nox", "cannot_run"),
    "node-pass": ("node", {"a.test.js": NODE.format(1)}, "node --test", "passed"),
    "node-fail": ("node", {"a.test.js": NODE.format(2)}, "node --test", "failed"),
    "node-none": ("node", {"a.js": ""}, "node --test", "nothing_ran"),
    "node-path": ("node", {}, "node --test no.test.js", "cannot_run"),
    "npm-script": ("npm", {"package.json": "{}"}, "npm test", "cannot_run"),
    "npm-default": ("npm", {"package.json": '{"scripts": {"test": "echo \\"Error: no test specified\\" && exit 1"}}'}, "npm test", "cannot_run"),
    "npm-child": ("npm", {"package.json": '{"scripts": {"test": "no-such-runner"}}'}, "npm test", "cannot_run"),
    "npm-none": ("npm", {}, "npm test", "cannot_run"),
    "jest-pass": ("jest", {"package.json": "{}", "a.test.js": JS.format(1)}, "jest", "passed"),
    "jest-fail": ("jest", {"package.json": "{}", "a.test.js": JS.format(2)}, "jest", "failed"),
    "jest-none": ("jest", {"package.json": "{}"}, "jest", "nothing_ran"),
    "jest-import": ("jest", {"package.json": "{}", "a.test.js": "require('nosuch');" + JS.format(1)}, "jest", "cannot_run"),
    "jest-name": ("jest", {"package.json": "{}", "a.test.js": JS.format(1)}, "jest -t nothing", "nothing_ran"),
    "jest-option": ("jest", {"package.json": "{}", "a.test.js": JS.format(1)}, "jest --nosuch", "cannot_run"),
    "vitest-pass": ("vitest", {"a.test.mjs": VITE.format(1)}, "vitest run", "passed"),
    "vitest-fail": ("vitest", {"a.test.mjs": VITE.format(2)}, "vitest run", "failed"),
    "vitest-none": ("vitest", {"a.mjs": ""}, "vitest run", "nothing_ran"),
    "vitest-import": ("vitest", {"a.test.mjs": "import 'nosuch';" + VITE.format(1)}, "vitest run", "cannot_run"),
    "vitest-option": ("vitest", {"a.test.mjs": VITE.format(1)}, "vitest run --nosuch", "cannot_run"),
    "jasmine-pass": ("jasmine", {"spec/a.spec.js": JASMINE.format(1)}, "jasmine spec/a.spec.js", "passed"),
    "jasmine-fail": ("jasmine", {"spec/a.spec.js": JASMINE.format(2)}, "jasmine spec/a.spec.js", "failed"),
    "jasmine-none": ("jasmine", {"a.js": ""}, "jasmine 'spec/*.js'", "nothing_ran"),
    "jasmine-import": ("jasmine", {"spec/a.spec.js": "require('nosuch');"}, "jasmine spec/a.spec.js", "cannot_run"),
    "mocha-pass": ("mocha", {"test/a.js": MOCHA.format(1)}, "mocha", "passed"),
    "mocha-fail": ("mocha", {"test/a.js": MOCHA.format(2)}, "mocha", "failed"),
    "mocha-none": ("mocha", {"a.js": ""}, "mocha", "nothing_ran"),
    "mocha-empty": ("mocha", {"test/a.js": ""}, "mocha", "nothing_ran"),
    "mocha-import": ("mocha", {"test/a.js": "require('nosuch');"}, "mocha", "cannot_run"),
    "ava-pass": ("ava", {"package.json": "{}", "test.mjs": "import test from 'ava'; test('a', t => t.is(1, 1));"}, "ava", "passed"),
    "ava-fail": ("ava", {"package.json": "{}", "test.mjs": "import test from 'ava'; test('a', t => t.is(1, 2));"}, "ava", "failed"),
    "ava-none": ("ava", {"package.json": "{}"}, "ava", "nothing_ran"),
    "go-pass": ("go", {"go.mod": "module a\n", "a_test.go": GO.format("false")}, "go test ./...", "passed"),
    "go-verbose": ("go", {"go.mod": "module a\n", "a_test.go": GO.format("false")}, "go test -v ./...", "passed"),
    "go-fail": ("go", {"go.mod": "module a\n", "a_test.go": GO.format("true")}, "go test ./...", "failed"),
    "go-none": ("go", {"go.mod": "module a\n", "a.go": "package a\n"}, "go test ./...", "nothing_ran"),
    "go-build": ("go", {"go.mod": "module a\n", "a_test.go": "package a\nvar x int = \"s\"\n"}, "go test ./...", "cannot_run"),
    "go-package": ("go", {"go.mod": "module a\n", "a_test.go": "package a\nimport _ \"example.com/nosuch\"\n"}, "GOFLAGS=-mod=mod GOPROXY=off go test ./...", "cannot_run"),
    "go-module": ("go", {"a_test.go": GO.format("false")}, "go test ./...", "cannot_run"),
    "go-version": ("go", {"go.mod": "module a\n\ngo 1.99\n", "a_test.go": GO.format("false")}, "GOTOOLCHAIN=local go test ./...", "cannot_run"),
    "cargo-pass": ("cargo", {**CARGO, "src/lib.rs": RS.format(1)}, "cargo test", "passed"),
    "cargo-fail": ("cargo", {**CARGO, "src/lib.rs": RS.format(2)}, "cargo test", "failed"),
    "cargo-none": ("cargo", {**CARGO, "src/lib.rs": ""}, "cargo test", "nothing_ran"),
    "cargo-build": ("cargo", {**CARGO, "src/lib.rs": "fn x() -> i32 { \"s\" }\n"}, "cargo test", "cannot_run"),
    "cargo-offline": ("cargo", {"Cargo.toml": CARGO["Cargo.toml"] + '[dependencies]\nnosuchcrate = "1"\n', "src/lib.rs": ""}, "cargo test --offline", "cannot_run"),
    "cargo-project": ("cargo", {}, "cargo test", "cannot_run"),
    "ctest-none": ("ctest", {}, "ctest", "cannot_run"),
    "rspec-pass": ("rspec", {"spec/a_spec.rb": "RSpec.describe('a') { it('b') { expect(1).to eq(1) } }\n"}, "rspec", "passed"),
    "rspec-fail": ("rspec", {"spec/a_spec.rb": "RSpec.describe('a') { it('b') { expect(1).to eq(2) } }\n"}, "rspec", "failed"),
    "rspec-none": ("rspec", {"a": ""}, "rspec", "nothing_ran"),
    "rspec-load": ("rspec", {"spec/a_spec.rb": "require 'nosuch'\n"}, "rspec", "cannot_run"),
    "minitest-pass": ("ruby", {"a.rb": "require 'minitest/autorun'\nclass T < Minitest::Test\n  def test_a; assert_equal 1, 1; end\nend\n"}, "ruby a.rb", "passed"),
    "minitest-fail": ("ruby", {"a.rb": "require 'minitest/autorun'\nclass T < Minitest::Test\n  def test_a; assert_equal 1, 2; end\nend\n"}, "ruby a.rb", "failed"),
    "phpunit-pass": ("phpunit", {"tests/ATest.php": "<?php class ATest extends PHPUnit\\Framework\\TestCase { function testA() { $this->assertTrue(true); } }"}, "phpunit tests", "passed"),
    "phpunit-fail": ("phpunit", {"tests/ATest.php": "<?php class ATest extends PHPUnit\\Framework\\TestCase { function testA() { $this->assertTrue(false); } }"}, "phpunit tests", "failed"),
    "phpunit-bootstrap": ("phpunit", {"tests/a": ""}, "phpunit --bootstrap vendor/autoload.php tests", "cannot_run"),
    "phpunit-bootstrap-script": ("phpunit", {"phpunit.xml": '<phpunit bootstrap="tests/bootstrap.php"><testsuites><testsuite name="all"><directory>tests</directory></testsuite></testsuites></phpunit>\n', "tests/bootstrap.php": '<?php require __DIR__ . "/../vendor/autoload.php";\n'}, "phpunit", "cannot_run"),
    "prove-passed": ("prove", {"t/a.t": "use Test::More tests => 3;\nok(1, 'one'); ok(1,'two'); ok(1,'three');\n"}, "prove -lr t", "passed"),
    "prove-failed": ("prove", {"t/a.t": "use Test::More tests => 3;\nok(1, 'one'); ok(1,'two'); ok(1,'three');\n", "t/b.t": "use Test::More tests => 2;\nok(1,'fine'); is(1, 2, 'equal');\n"}, "prove -lr t", "failed"),
    "prove-module": ("prove", {"t/a.t": "use No::Such::Module;\nuse Test::More tests => 1;\nok(1);\n"}, "prove -lr t", "cannot_run"),
    "prove-none": ("prove", {"a": ""}, "prove -lr t", "nothing_ran"),
    "mix-pass": ("mix", {"mix.exs": "defmodule A.MixProject do\n use Mix.Project\n def project, do: [app: :a, version: \"0.1.0\"]\nend\n", "test/test_helper.exs": "ExUnit.start()\n", "test/a_test.exs": "defmodule ATest do\n use ExUnit.Case\n test \"a\" do\n assert 1 == 1\n end\nend\n"}, "mix test", "passed"),
    "mix-fail": ("mix", {"mix.exs": "defmodule A.MixProject do\n use Mix.Project\n def project, do: [app: :a, version: \"0.1.0\"]\nend\n", "test/test_helper.exs": "ExUnit.start()\n", "test/a_test.exs": "defmodule ATest do\n use ExUnit.Case\n test \"a\" do\n assert 1 == 2\n end\nend\n"}, "mix test", "failed"),
    "linter": ("python3", {"a": ""}, "grep -q x a", "failed"),
    "script": ("python3", {"a.py": "raise SystemExit(3)\n"}, "python3 a.py", "failed"),
    "script-missing": ("python3", {}, "./scripts/test.sh", "cannot_run"),
    "script-forbidden": ("python3", {"t.sh": "echo"}, "./t.sh", "cannot_run"),
    "interpreter": ("python3", {"t.sh": "#!/no/such/python\n"}, "chmod +x t.sh && ./t.sh", "cannot_run"),
    "uv-run": ("uv", {}, "uv run --no-project --offline no-such-program", "cannot_run"),
    "lint-then-test": ("pytest", {"test_a.py": GOOD_PY}, "python3 -c 'print(1)' && pytest -q", "passed"),
}  # fmt: skip


def record(name: str, work: Path) -> dict[str, object] | None:
    program, files, command, ending = CASES[name]
    if shutil.which(program) is None:
        return None
    for path, text in files.items():
        (work / path).parent.mkdir(parents=True, exist_ok=True)
        (work / path).write_text(text, encoding="utf-8")
    modules = os.environ.get("NODE_PATH")
    if modules and program == "ava":  # resolved from the project alone
        (work / "node_modules").symlink_to(modules)
    done = subprocess.run(
        ["bash", "-c", command],
        cwd=work,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        timeout=300,
        check=False,
    )
    output = done.stdout.decode("utf-8", "replace").replace(str(work), "/workspace")
    return {"name": name, "command": command, "exit_code": done.returncode, "output": output[-6_000:], "ending": ending}


def main() -> None:
    known = {row["name"]: row for row in map(json.loads, FILE.read_text("utf-8").splitlines())} if FILE.exists() else {}
    for name in sys.argv[1:] or CASES:
        with tempfile.TemporaryDirectory() as folder:
            row = record(name, Path(folder).resolve())
        if row is not None:
            known[name] = row
        else:
            print(f"{name}: {CASES[name][0]} is not installed")
    FILE.write_text(
        "".join(json.dumps(known[name], ensure_ascii=False) + "\n" for name in CASES if name in known), "utf-8"
    )


if __name__ == "__main__":
    main()
