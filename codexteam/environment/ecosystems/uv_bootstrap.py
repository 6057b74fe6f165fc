"""Where `uv` comes from: what is there, else the registry, with nothing but Python's own library.

uv installs Python packages, Python itself, and from the same registry Node and Go where a machine has none.
"""

from codexteam.environment.plan import BIN, TOOLS, Ecosystem, SetupStep
from codexteam.environment.registries import DEFAULT_HOSTS

#: Finds the newest pip in the registry's plain listing and runs it from its wheel: images often have Python without pip.
_FROM_LISTING = r"""
import configparser, html, os, re, subprocess, sys, tempfile, urllib.parse, urllib.request
index = (os.environ.get("PIP_INDEX_URL") or os.environ.get("UV_DEFAULT_INDEX") or "https://@PUBLIC@/simple").rstrip("/")
page = urllib.request.urlopen(index + "/pip/", timeout=60).read().decode()
found = re.findall(r'href="((?:[^"]*/)?pip-(\d+(?:\.\d+)*)-py3-none-any\.whl[^"]*)"', page)
if not found:
    sys.exit("there is no pip in " + index)
def version(each):
    return tuple(int(part) for part in each[1].split("."))
fits = [each for each in found if sys.version_info >= (3, 10) or version(each) < (25, 0)] or found
url = urllib.parse.urljoin(index + "/pip/", html.unescape(max(fits, key=version)[0]).partition("#")[0])
wheel = os.path.join(tempfile.mkdtemp(), url.rpartition("/")[2])
urllib.request.urlretrieve(url, wheel)
sys.exit(subprocess.call([sys.executable, wheel + "/pip", *sys.argv[1:]]))
""".strip().replace("@PUBLIC@", DEFAULT_HOSTS[Ecosystem.PYTHON][0])


def uv_step(source: str) -> SetupStep:
    """Return the step that makes `uv` a program; it does nothing where there is one."""
    install = f"install --quiet --disable-pip-version-check --target {TOOLS}/uv-program uv"
    command = f"""
command -v uv >/dev/null && exit 0
mkdir -p {BIN}
python3 -m pip --version >/dev/null 2>&1 && python3 -m pip {install} || python3 - {install} <<'EOF'
{_FROM_LISTING}
EOF
ln -sf {TOOLS}/uv-program/bin/uv {BIN}/uv
""".strip()
    return SetupStep(command, source, Ecosystem.PYTHON)
