"""Makes patches and the files they are for: fitting ones, nearly fitting ones, and noise in the shape of a patch."""

import random
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Case:
    """Files by path, and a patch."""

    name: str
    files: dict[str, bytes]
    patch: str


_WORDS = ["alpha", "beta", "gamma", "if x:", "return 1", "}", "", "", "def f():", "*** odd", "@@ odd", "-dash", "+plus"]
_TYPOGRAPHIC = [
    "a \u2013 b",
    "\u201cquoted\u201d",
    "it\u2019s",
    "wide\u00a0space",
    "minus \u2212 1",
    "thin\u2009space",
    "é",
    "日本",
    "…",
]
_PLAIN = str.maketrans(
    {"\u2013": "-", "\u201c": '"', "\u201d": '"', "\u2019": "'", "\u00a0": " ", "\u2212": "-", "\u2009": " "}
)
_SPACES = ["", "", "", " ", "  ", "\t", "\u00a0", "\u3000", "\x0b", "\x85", "\x1c", "\u200b"]
_PATHS = ["a.txt", "b.txt", "dir/c.txt", "dir/deep/d.txt", "name with space.txt", "ünïcode.txt"]


def make_case(seed: int) -> Case:
    """Give the case of a seed, always the same one."""
    rng = random.Random(seed)
    files = {path: _file(rng) for path in rng.sample(_PATHS, rng.randint(1, 3))}
    kind = rng.choice(["fits", "fits", "fits", "nearly", "nearly", "mutated", "mutated", "noise"])
    if kind == "noise":
        patch = _noise(rng, list(files))
    else:
        patch = _patch(rng, files, drift=0.0 if kind == "fits" else 0.3)
        if kind == "mutated":
            patch = _mutated(rng, patch)
    return Case(f"{kind}-{seed}", files, _wrapped(rng, patch))


def _file(rng: random.Random) -> bytes:
    if rng.random() < 0.06:
        return rng.choice([b"", b"\n", b"\n\n", b"one", b"\r\n", b"bad \xff\nx\n", b"half \xe2\x82", b"nul \x00\n"])
    ending = rng.choice(["\n", "\n", "\n", "\n", "\r\n", "\r\n", "\r", "mixed"])
    lines = []
    for _ in range(rng.randint(1, 12)):
        body = rng.choice(_WORDS) if rng.random() < 0.8 else rng.choice(_TYPOGRAPHIC)
        if rng.random() < 0.35:
            body += f" {rng.randint(0, 9)}"
        if rng.random() < 0.3:
            body = rng.choice(_SPACES) + body
        if rng.random() < 0.2:
            body += rng.choice(_SPACES)
        lines.append(body + (rng.choice(["\n", "\r\n", "\r"]) if ending == "mixed" else ending))
    text = "".join(lines)
    if rng.random() < 0.25:
        text = text.rstrip("\r\n")
    return text.encode()


def _lines_of(data: bytes) -> list[str]:
    text = data.decode(errors="replace").replace("\r\n", "\n").replace("\r", "\n")
    lines = text.split("\n")
    return lines[:-1] if lines[-1] == "" else lines


def _drifted(rng: random.Random, line: str, drift: float) -> str:
    """The same line as a model might remember it."""
    if rng.random() >= drift:
        return line
    way = rng.randrange(6)
    if way == 0:
        return line.strip()
    if way == 1:
        return line.rstrip()
    if way == 2:
        return rng.choice(_SPACES) + line + rng.choice(_SPACES)
    if way == 3:
        return line.translate(_PLAIN)
    if way == 4:
        return line.replace("-", "\u2014").replace("'", "\u2018").replace(" ", "\u2003")
    return rng.choice([line + "x", line.upper(), line[1:]])


def _patch(rng: random.Random, files: dict[str, bytes], *, drift: float) -> list[str]:
    out: list[str] = []
    for _ in range(rng.choice([1, 1, 1, 2, 3])):
        path = rng.choice(list(files)) if rng.random() < 0.92 else rng.choice(_PATHS)
        action = rng.choice(["update"] * 7 + ["add", "delete", "move"])
        if action == "add":
            out.append(f"*** Add File: {rng.choice([*_PATHS, 'new/x.txt', 'a.txt/under.txt', 'dir', './n.txt'])}")
            out += [f"+{rng.choice(_WORDS + _TYPOGRAPHIC)}" for _ in range(rng.randint(0, 4))]
        elif action == "delete":
            out.append(f"*** Delete File: {path}")
        else:
            out.append(f"*** Update File: {path}")
            if action == "move":
                out.append(f"*** Move to: {rng.choice([*_PATHS, 'moved/y.txt', path])}")
            out += _chunks(rng, _lines_of(files.get(path, b"one\ntwo\n")), drift)
    return out


def _chunks(rng: random.Random, lines: list[str], drift: float) -> list[str]:
    out: list[str] = []
    position = 0
    for number in range(rng.choice([1, 1, 1, 2, 3])):
        if rng.random() < 0.06:
            position = 0
        position = min(len(lines), position + rng.choice([0, 0, 0, 1, 2, 4]))
        anchor = None
        if rng.random() < 0.3 and position < len(lines):
            anchor = lines[position]
            position += 1
        if anchor is not None:
            out.append(f"@@ {_drifted(rng, anchor, drift)}")
        elif number or rng.random() < 0.85:
            out.append("@@")
        size = rng.randint(0, 4)
        old = lines[position : position + size]
        position += len(old)
        for line in old:
            shown = _drifted(rng, line, drift)
            action = rng.random()
            if action < 0.45:
                out.append(shown if not shown and rng.random() < 0.5 else f" {shown}")
            elif action < 0.8:
                out.append(f"-{shown}")
                if rng.random() < 0.7:
                    out.append(f"+{rng.choice([line, line.upper(), 'new', '', ' indented'])}")
            else:
                out += [f" {shown}", f"+{rng.choice(_WORDS)}"]
        if not old or rng.random() < 0.1:
            out.append(f"+{rng.choice(_WORDS)}")
        if rng.random() < 0.08:
            out.append(rng.choice([" ", "", "-", "+"]))
        if (position >= len(lines) and rng.random() < 0.3) or rng.random() < 0.04:
            out.append("*** End of File")
    return out


_NOISE = [
    "@@", "@@ ", "@@ alpha", "@@\talpha", "  @@", "*** End of File", " *** End of File", "*** End of File ", "", " ",
    "\t", "  ", "-", "+", "-alpha", "+alpha", " alpha", "alpha", "*", "*** ", "*** End Patch", "*** Begin Patch",
    " *** End Patch", "*** Move to: b.txt", "*** Move to: ", "*** Move to: b.txt  ", " *** Move to: b.txt",
    "*** Environment ID: e", "*** Environment ID:", "*** Environment ID: ", "  *** Environment ID:e",
    "*** Add File: n.txt", "*** Add File:n.txt", "*** Add File: ", "  *** Add File: n.txt  ", "*** Delete File: a.txt",
    "*** Update File: a.txt", "*** Update File: a.txt\r", "*** update file: a.txt", "*** Rename File: a.txt", "-\r",
    "+x\r\r", "\u00a0", "*** Add File: .", "*** Add File: dir/", "*** Add File: x//y", "*** Delete File: dir",
    "*** Delete File: nowhere", "*** Update File: dir", "*** Add File: nul\0x", "```",
]  # fmt: skip


def _noise(rng: random.Random, paths: list[str]) -> list[str]:
    lines = [rng.choice(_NOISE) for _ in range(rng.randint(0, 7))]
    if rng.random() < 0.7:
        lines.insert(0, f"*** {rng.choice(['Update', 'Update', 'Add', 'Delete'])} File: {rng.choice(paths)}")
    return lines


def _mutated(rng: random.Random, lines: list[str]) -> list[str]:
    lines = list(lines)
    for _ in range(rng.randint(1, 3)):
        at = rng.randrange(len(lines))
        way = rng.randrange(8)
        if way == 0 and len(lines) > 1:
            del lines[at]
        elif way == 1:
            lines.insert(at, lines[at])
        elif way == 2:
            lines.insert(at, rng.choice(_NOISE))
        elif way == 3:
            lines[at] = rng.choice(_SPACES) + lines[at]
        elif way == 4:
            lines[at] += rng.choice([*_SPACES, "\r", "\r\r"])
        elif way == 5:
            other = rng.randrange(len(lines))
            lines[at], lines[other] = lines[other], lines[at]
        elif way == 6 and lines[at]:
            cut = rng.randrange(len(lines[at]))
            lines[at] = lines[at][:cut] + lines[at][cut + 1 :]
        else:
            lines[at] = rng.choice("+- *@x") + lines[at]
    return lines


def _wrapped(rng: random.Random, lines: list[str]) -> str:
    out = ["*** Begin Patch", *lines, "*** End Patch"]
    if rng.random() < 0.08:
        out[0] = rng.choice(
            [" *** Begin Patch ", "*** Begin Patch\t", "\n*** Begin Patch", "*** begin patch", "*** Begin"]
        )
    if rng.random() < 0.08:
        out[-1] = rng.choice(
            [" *** End Patch", "*** End Patch \n\n", "*** End Patch\nrest", "", "*** End Patch\n*** End Patch"]
        )
    if rng.random() < 0.05:
        out.insert(1, rng.choice(["*** Environment ID: x", "*** Environment ID: ", "\t*** Environment ID:y  "]))
    if rng.random() < 0.08:
        start = rng.choice(["<<EOF", "<<'EOF'", '<<"EOF"', "<< EOF", "<<PATCH", "cat <<EOF"])
        out = [start, *out, rng.choice(["EOF", "EOF", "EOF\n", "xEOF", "END"])]
    return rng.choice(["\n"] * 9 + ["\r\n"]).join(out) + rng.choice(["\n", "", "\n\n"])
