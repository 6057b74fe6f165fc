"""A report full of hostile text, opened in a real browser."""

import http.server
import shutil
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from codexteam.views.report.html import render_html
from tests.support_reports import report_of

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(CHROMIUM is None, reason="no Chromium on the path; test_html.py reads the same page's tags"),
]


class Listener(http.server.ThreadingHTTPServer):
    """Hears of every request that a page makes."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Heard)
        self.heard: list[str] = []

    @property
    def place(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"


class Heard(http.server.BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        assert isinstance(self.server, Listener)
        self.server.heard.append(self.path)
        self.send_response(204)
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - as the base names it
        """Say nothing."""


@pytest.fixture
def listener() -> Iterator[Listener]:
    server = Listener()
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield server
    server.shutdown()
    server.server_close()
    thread.join()


def hostile(place: str) -> str:
    return (
        f"</style></pre></title><script src={place}/src></script><script>document.title='owned';fetch('{place}/fetch')"
        f"</script><img src={place}/img onerror=\"document.title='owned'\"><iframe src={place}/frame></iframe>"
        f"<link rel=stylesheet href={place}/css><svg onload=\"document.title='owned'\"><style>@import '{place}/import';"
        f"*{{background:url({place}/url)}}</style><meta http-equiv=refresh content='0;url={place}/refresh'>\"'>"
    )


def opened(page: Path, tmp_path: Path) -> str:
    """Return the page as the browser has it once it is loaded."""
    assert CHROMIUM is not None
    quiet = ["--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking"]
    done = subprocess.run(
        [CHROMIUM, *quiet, f"--user-data-dir={tmp_path / 'profile'}", "--dump-dom", f"file://{page}"],
        capture_output=True,
        check=True,
        timeout=100,
    )
    return done.stdout.decode()


def test_a_browser_runs_nothing_of_a_report_s_texts(listener: Listener, tmp_path: Path) -> None:
    page = tmp_path / "report.html"
    page.write_text(render_html(report_of(hostile(listener.place))), encoding="utf-8")

    seen = opened(page, tmp_path)

    assert "<title>waiting: &lt;/style&gt;" in seen
    assert "Evidence" in seen
    assert listener.heard == []


def test_the_same_texts_do_harm_in_a_page_that_does_not_escape_them(listener: Listener, tmp_path: Path) -> None:
    page = tmp_path / "open.html"
    text = hostile(listener.place).partition("<meta")[0]
    page.write_text(f"<title>mine</title><body>{text}", encoding="utf-8")

    assert "<title>owned</title>" in opened(page, tmp_path)
    assert listener.heard
