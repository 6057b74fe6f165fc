# Runs commands, and prints which lines of files they ran: measure.sh MARK COMMANDS FILE...
mark=$1 tests=$2
shift 2
work=$(mktemp -d) || exit 1
trap 'rm -rf "$work"' EXIT
python= js= go=
for file; do
  case $file in
    *.py) python=1 ;;
    *.js | *.mjs | *.cjs) js=1 ;;
    *.go) go=1 ;;
  esac
done
if [ -n "$python" ]; then
  python=
  for each in python python3; do
    if command -v "$each" >/dev/null && "$each" -c 'import coverage' 2>/dev/null; then
      python=$each
      break
    fi
  done
fi
[ -n "$js" ] && ! command -v node >/dev/null && js=
[ -n "$go" ] && ! command -v go >/dev/null && go=
[ -n "$python$js$go" ] || exit 93
if [ -n "$python" ]; then
  mkdir "$work/python"
  printf 'import coverage\ncoverage.process_startup()\n' >"$work/python/sitecustomize.py"
  {
    printf '[run]\nparallel = True\nsource = %s\ndata_file = %s/python/data\n' "$PWD" "$work"
    printf 'concurrency = thread,multiprocessing\n'
    # what a version does not know it warns of on stderr, which a test may compare
    "$python" -c 'import coverage; known = coverage.version_info
if known >= (6, 4): print("sigterm = True")
if known >= (7, 10): print("patch = _exit")'
  } >"$work/python/rc"
fi
if [ -n "$go" ]; then
  mkdir "$work/bin" "$work/go"
  # each run writes a profile of its own; programs that tests build must not be told of it, so it is no GOFLAGS
  cat >"$work/bin/go" <<'GO'
#!/bin/sh
# where it is to run is the first option, before or after the command's name
case "$1 $2" in
  "-C "*) cd "$2" && shift 2 || exit 1 ;;
  "test -C") cd "$3" && shift 3 && set -- test "$@" || exit 1 ;;
  -C=*) cd "${1#-C=}" && shift || exit 1 ;;
  "test -C="*) cd "${2#-C=}" && shift 2 && set -- test "$@" || exit 1 ;;
esac
if [ "$1" = test ] && profile=$(mktemp "$MEASURED_GO_PROFILES/XXXXXX"); then
  shift
  set -- test -coverprofile="$profile" -coverpkg=./... "$@"
fi
exec "$MEASURED_GO" "$@"
GO
  chmod +x "$work/bin/go"
fi
(
  if [ -n "$python" ]; then
    export COVERAGE_PROCESS_START=$work/python/rc PYTHONPATH=$work/python${PYTHONPATH:+:$PYTHONPATH}
  fi
  [ -n "$js" ] && export NODE_V8_COVERAGE=$work/js
  if [ -n "$go" ]; then
    MEASURED_GO=$(command -v go)
    export MEASURED_GO MEASURED_GO_PROFILES=$work/go PATH="$work/bin:$PATH"
  fi
  bash -c "$tests"
) >/dev/null 2>&1 || exit 0  # what fails says little about what tests run
if [ -n "$python" ] && ls "$work"/python/data.* >/dev/null 2>&1; then
  "$python" -m coverage combine -q --rcfile="$work/python/rc" >/dev/null 2>&1
  "$python" -m coverage json -q --rcfile="$work/python/rc" -o "$work/python.json" >/dev/null 2>&1
  "$python" - "$work/python.json" "$mark" "$@" <<'PYTHON'
import json, sys
known = json.load(open(sys.argv[1]))["files"]
for path in sys.argv[3:]:
    if path in known:
        print(sys.argv[2], json.dumps([path, known[path]["executed_lines"], known[path]["missing_lines"]]))
PYTHON
fi
if [ -n "$js" ] && ls "$work"/js/*.json >/dev/null 2>&1; then
  node - "$work/js" "$mark" "$@" <<'JS'
const fs = require('fs'), path = require('path'), url = require('url');
const [folder, mark, ...files] = process.argv.slice(2);
const wanted = new Map(files.map((file) => [url.pathToFileURL(path.resolve(file)).href, file]));
for (const name of fs.readdirSync(folder)) {
  let scripts = [];
  try { scripts = JSON.parse(fs.readFileSync(path.join(folder, name), 'utf8')).result; } catch { continue; }
  for (const script of scripts) {
    const file = wanted.get(script.url);
    if (file === undefined) continue;
    const text = fs.readFileSync(file, 'utf8');
    const counts = new Int32Array(text.length).fill(1);
    const ranges = script.functions.flatMap((each) => each.ranges);
    ranges.sort((a, b) => (b.endOffset - b.startOffset) - (a.endOffset - a.startOffset));
    for (const range of ranges) counts.fill(range.count, range.startOffset, range.endOffset);
    const ran = [], missed = [];
    let at = 0;
    text.split('\n').forEach((line, index) => {
      const start = line.search(/\S/);
      if (/[A-Za-z0-9_$]/.test(line) && !/^\s*(\/\/|\/?\*)/.test(line)) (counts[at + start] > 0 ? ran : missed).push(index + 1);
      at += line.length + 1;
    });
    console.log(mark, JSON.stringify([file, ran, missed]));
  }
}
JS
fi
if [ -n "$go" ] && ls "$work"/go/* >/dev/null 2>&1; then
  for file; do
    case $file in *.go) ;; *) continue ;; esac
    # a module may begin below the root
    root=$(dirname "$file")
    while [ "$root" != . ] && [ ! -e "$root/go.mod" ]; do root=$(dirname "$root"); done
    module=$(cd "$root" && go list -m 2>/dev/null | head -n 1)
    awk -v name="$module/${file#"$root/"}" -v file="$file" -v mark="$mark" '
      index($0, name ":") == 1 {
        split(substr($0, length(name) + 2), part, /[ ,.]/)
        for (line = part[1]; line <= part[3]; line++) { seen[line] = 1; if ($NF > 0) hit[line] = 1 }
      }
      END {
        for (line in seen) if (line in hit) ran = ran (ran ? "," : "") line; else missed = missed (missed ? "," : "") line
        if (ran missed != "") printf "%s [\"%s\", [%s], [%s]]\n", mark, file, ran, missed
      }' "$work"/go/*
  done
fi
