"""What tests run of a file's lines, measured by the real tools, where this machine has them."""

import os
import shutil
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

from codexteam.core.untested import ExecutedLines
from codexteam.run.gates.coverage import measuring, read_measured

PYTHON = {
    "shop/__init__.py": "",
    "shop/prices.py": "def net(gross):\n    return gross / 1.2\n\n\ndef gross(net):\n    return net * 1.2\n",
    "tests/__init__.py": "",
    "shop/unused.py": "def never():\n    return 1\n",
    "tests/test_prices.py": (
        "import unittest\nfrom shop.prices import net\n\n\nclass NetTest(unittest.TestCase):\n"
        "    def test_net(self):\n        self.assertEqual(net(12), 10)\n"
    ),
}
JAVASCRIPT = {
    "prices.js": "exports.net = (gross) => {\n  return gross / 1.2;\n};\nexports.gross = (net) => {\n  return net * 1.2;\n};\n",
    "prices.test.js": (
        "const { test } = require('node:test');\nconst { net } = require('./prices.js');\n"
        "test('net', () => { if (net(12) !== 10) throw new Error(); });\n"
    ),
}
GO = {
    "go.mod": "module example.org/shop\n\ngo 1.19\n",
    "prices.go": (
        "package shop\n\nfunc Net(gross int) int {\n\treturn gross - 2\n}\n\nfunc Gross(net int) int {\n\treturn net + 2\n}\n"
    ),
    "prices_test.go": (
        'package shop\n\nimport "testing"\n\nfunc TestNet(t *testing.T) {\n\tif Net(12) != 10 {\n\t\tt.Fatal("net")\n\t}\n}\n'
    ),
}


def measured(folder: Path, files: dict[str, str], command: str | list[str], *paths: str) -> dict[str, ExecutedLines]:
    for name, text in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text, encoding="utf-8")
    line = measuring([command] if isinstance(command, str) else command, paths)
    ran = subprocess.run(["bash", "-c", line], cwd=folder, stdout=subprocess.PIPE, text=True, check=False)
    assert ran.returncode == 0, ran.stdout
    return read_measured(ran.stdout, paths)


@pytest.mark.skipif(find_spec("coverage") is None, reason="coverage.py is not installed")
def test_coverage_py_tells_which_lines_ran_in_python(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(Path(sys.executable).parent), prepend=os.pathsep)
    found = measured(tmp_path, PYTHON, "python -m unittest discover -s tests -t .", "shop/prices.py", "shop/unused.py")

    assert measured(tmp_path, PYTHON, "python -c 'import shop.prices; exit(1)'", "shop/prices.py") == {}
    assert found == {
        "shop/prices.py": ExecutedLines(frozenset({1, 2, 5}), frozenset({6})),
        "shop/unused.py": ExecutedLines(frozenset(), frozenset({1, 2})),
    }


SERVER = {
    "server.py": (
        "import sys, time\n\n\ndef serve():\n    print('up', flush=True)\n    time.sleep(600)\n\n\n"
        "if sys.argv[1:]:\n    serve()\n"
    ),
    "use_server.py": (
        "import subprocess, sys\nserver = subprocess.Popen([sys.executable, 'server.py', 'now'], stdout=subprocess.PIPE)\n"
        "server.stdout.readline()\nserver.terminate()\nserver.wait()\n"
    ),
    "pool.py": "import os\n\n\ndef work(_):\n    return os.getpid()\n",
    "use_pool.py": (
        "import multiprocessing, pool\nif __name__ == '__main__':\n"
        "    with multiprocessing.get_context('fork').Pool(1) as workers:\n        workers.map(pool.work, [1])\n"
        "        workers.close()\n        workers.join()\n"
    ),
    "child.py": "import os\n\n\ndef work():\n    os._exit(0)\n",
    "use_fork.py": "import os, child\nif os.fork() == 0:\n    child.work()\nos.wait()\n",
}
_SEEN = ("server.py", "pool.py", "child.py")


@pytest.mark.skipif(find_spec("coverage") is None, reason="coverage.py is not installed")
def test_what_a_stopped_server_and_a_worker_ran_counts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(Path(sys.executable).parent), prepend=os.pathsep)
    found = measured(tmp_path, SERVER, [f"python use_{name}.py" for name in ("server", "pool", "fork")], *_SEEN)

    assert found["server.py"].ran >= {1, 4, 5, 9, 10}  # it may be stopped before it sleeps
    assert found["pool.py"] == found["child.py"] == ExecutedLines(frozenset({1, 4, 5}), frozenset())


@pytest.mark.skipif(shutil.which("node") is None, reason="node is not installed")
def test_the_engines_counters_tell_which_lines_ran_in_javascript(tmp_path: Path) -> None:
    found = measured(tmp_path, JAVASCRIPT, "node --test prices.test.js", "prices.js")

    assert found == {"prices.js": ExecutedLines(frozenset({1, 2, 4}), frozenset({5}))}


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("go") is None, reason="go is not installed")
def test_a_cover_profile_tells_which_lines_ran_in_go(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GOCACHE", str(tmp_path / "cache"))
    commands = ["go test -run TestNet ./...", "go test -run TestNothing ./..."]
    found = measured(tmp_path / "shop", GO, commands, "prices.go")

    assert found == {"prices.go": ExecutedLines(frozenset({3, 4, 5}), frozenset({7, 8, 9}))}
    nested = measured(tmp_path, {}, "go test -C shop -run TestNet", "shop/prices.go")
    assert nested == {"shop/prices.go": found["prices.go"]}
