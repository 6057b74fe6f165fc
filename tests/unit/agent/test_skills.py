"""Which skills there are, what agents are told of them, and how they read them."""

import json
from pathlib import Path

import pytest

from codexteam.agent.skills import Skills, find_skills, mentioned_skills, render_skill_body, render_skill_list
from codexteam.agent.tools.read_skill import make_read_skill_tool
from codexteam.agent.tools.tool import ToolProblem
from codexteam.config.settings import SkillOverride, SkillSettings
from tests.fakes.memory_files import MemoryFiles


def _skill(name: str, description: str = "Does it.", body: str = "body") -> str:
    return f"---\nname: {name}\ndescription: {description}\n---\n\n{body}\n"


async def _find(
    home: dict[str, str | bytes] | None = None,
    project: dict[str, str | bytes] | None = None,
    user: dict[str, str | bytes] | None = None,
    *,
    settings: SkillSettings | None = None,
    folders: tuple[str, ...] = ("",),
    trusted: bool | None = True,
) -> Skills:
    return await find_skills(
        settings or SkillSettings(),
        project=MemoryFiles(project or {}, root="/repository"),
        folders=folders,
        codex_home=MemoryFiles(home or {}, root="/home/u/.codex"),
        user_home=MemoryFiles(user or {}, root="/home/u"),
        trusted=trusted,
    )


async def test_skills_are_found_everywhere_and_listed_in_a_fixed_order() -> None:
    found = await _find(
        {"skills/alpha/SKILL.md": _skill("alpha"), "skills/.system/gen/SKILL.md": _skill("gen")},
        {
            ".agents/skills/beta/SKILL.md": _skill("beta"),
            ".codex/skills/gamma/SKILL.md": _skill("gamma"),
            "a/.agents/skills/delta/deep/SKILL.md": _skill("delta"),
            "b/.agents/skills/elsewhere/SKILL.md": _skill("elsewhere"),
        },
        {".agents/skills/own/SKILL.md": _skill("own")},
        folders=("", "a"),
    )
    assert [(skill.name, skill.scope.value, skill.path) for skill in found.skills] == [
        ("gen", "system", "skills/.system/gen/SKILL.md"),
        ("beta", "project", ".agents/skills/beta/SKILL.md"),
        ("delta", "project", "a/.agents/skills/delta/deep/SKILL.md"),
        ("gamma", "project", ".codex/skills/gamma/SKILL.md"),
        ("alpha", "user", "skills/alpha/SKILL.md"),
        ("own", "user", ".agents/skills/own/SKILL.md"),
    ]
    listed = render_skill_list(found.skills)
    lines = listed.partition("### Available skills\n")[2].splitlines()
    assert lines == [
        "- beta: Does it. (file: .agents/skills/beta/SKILL.md)",
        "- delta: Does it. (file: a/.agents/skills/delta/deep/SKILL.md)",
        "- gamma: Does it. (file: .codex/skills/gamma/SKILL.md)",
        "- alpha: Does it. (read_skill: alpha)",
        "- own: Does it. (read_skill: own)",
        "</skills_instructions>",
    ]
    assert "body" not in listed


@pytest.mark.parametrize(
    ("text", "name", "description"),
    [
        ("---\ndescription: no name\n---\nx", "folder", "no name"),
        (
            '---\nname: "quoted name"\ndescription: "colon: and \\"q\\" \\u00e9"\n---\nx',
            "quoted name",
            'colon: and "q" é',
        ),
        ("---\nname: folded\ndescription: >\n  one\n  two\n\n  three\n---\nx", "folded", "one two three"),
        ("---\nname: colon\ndescription: Use when: this breaks yaml\n---\nx", "colon", "Use when: this breaks yaml"),
        ("---\nname: 123\ndescription: 456\n---\nx", "123", "456"),
        ("---\nname: meta\ndescription: d\nmetadata:\n  name: inner\n---\nx", "meta", "d"),
        ("---\r\nname: crlf\r\ndescription: d\r\n---\r\nx", "crlf", "d"),
        ("---\nname:   a   b  \ndescription:  x    y  \n---\nx", "a b", "x y"),
        (f"---\nname: {'n' * 64}\ndescription: {'d' * 1030}\n---\n", "n" * 64, "d" * 1024),
    ],
)
async def test_a_head_gives_name_and_description(text: str, name: str, description: str) -> None:
    found = await _find({"skills/folder/SKILL.md": text})
    assert [(skill.name, skill.description) for skill in found.skills] == [(name, description)]
    assert found.notices == ()


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("hello", "no front matter"),
        ("---\nname: a\n---\n", "no `description`"),
        ("---\nname: a\ndescription: ''\n---\n", "no `description`"),
        ("---\nname: a\ndescription:\n  b: c\n---\n", "`description` must be a text"),
        (f"---\nname: {'n' * 65}\ndescription: d\n---\n", "65 characters; 64 are allowed"),
        ("---\nname: a\nname: b\ndescription: d\n---\n", "twice"),
        (b"---\nname: a\ndescription: d\xff\n---\n", "not UTF-8 (byte 26)"),
    ],
)
async def test_a_skill_that_cannot_be_used_is_told(text: str | bytes, said: str) -> None:
    found = await _find({"skills/folder/SKILL.md": text, "skills/good/SKILL.md": _skill("good")})
    assert [skill.name for skill in found.skills] == ["good"]
    (notice,) = found.notices
    assert notice.startswith("skill /home/u/.codex/skills/folder/SKILL.md was skipped: ")
    assert said in notice


async def test_hidden_folders_and_other_spellings_are_no_skills() -> None:
    found = await _find({"skills/.hidden/SKILL.md": _skill("hidden"), "skills/lower/skill.md": _skill("lower")})
    assert found == Skills()


@pytest.mark.parametrize(
    ("policy", "listed"),
    [
        ("policy:\n  allow_implicit_invocation: false\n", False),
        ('"policy": {"allow_implicit_invocation": false}\n', False),
        ("policy:\n  allow_implicit_invocation: true\ninterface:\n  display_name: X\n", True),
        ("policy: [bad\n", True),
    ],
)
async def test_a_policy_hides_a_skill_from_the_list_but_not_from_who_names_it(policy: str, *, listed: bool) -> None:
    found = await _find({"skills/p/SKILL.md": _skill("p"), "skills/p/agents/openai.yaml": policy})
    assert ("- p:" in render_skill_list(found.skills)) is listed
    assert mentioned_skills("use $p", found.skills) == found.skills


async def test_overrides_switch_skills_off_by_name_and_path() -> None:
    files: dict[str, str | bytes] = {
        f"skills/{name}/SKILL.md": _skill(name) for name in ("one", "two", "three", "four")
    }
    root = Path("/home/u/.codex/skills")
    overrides = (
        SkillOverride("one", None, enabled=False),
        SkillOverride(None, root / "two" / "SKILL.md", enabled=False),
        SkillOverride(None, root / "three", enabled=False),
        SkillOverride("four", None, enabled=False),
        SkillOverride("four", None, enabled=True),
    )
    found = await _find(files, settings=SkillSettings(overrides=overrides))
    assert [skill.name for skill in found.skills] == ["four"]


async def test_codexs_skills_can_be_off_and_untrusted_projects_have_none() -> None:
    home: dict[str, str | bytes] = {"skills/.system/gen/SKILL.md": _skill("gen")}
    project: dict[str, str | bytes] = {".agents/skills/beta/SKILL.md": _skill("beta")}
    assert (await _find(home, project, settings=SkillSettings(bundled_enabled=False), trusted=False)).skills == ()
    assert len((await _find(home, project, trusted=None)).skills) == 2


async def test_a_mention_gives_the_body_and_an_unclear_one_nothing() -> None:
    found = await _find(
        {
            "skills/one/SKILL.md": _skill("one", body="THE BODY"),
            "skills/two/SKILL.md": _skill("two"),
            "skills/d1/SKILL.md": _skill("dup"),
            "skills/d2/SKILL.md": _skill("dup"),
        }
    )
    assert [skill.id for skill in found.skills] == ["skills/d1", "skills/d2", "one", "two"]
    asked = mentioned_skills("use $one, $onex ($two). and $dup $PATH $ONE", found.skills)
    assert [skill.name for skill in asked] == ["one", "two"]
    assert await render_skill_body(asked[0]) == (
        "<skill>\n<name>one</name>\n<path>read_skill: one</path>\n"
        "---\nname: one\ndescription: Does it.\n---\n\nTHE BODY\n\n</skill>"
    )


async def test_a_long_list_is_shortened_and_says_so() -> None:
    files: dict[str, str | bytes] = {f"skills/s{n:03}/SKILL.md": _skill(f"s{n:03}", "word " * 150) for n in range(300)}
    listed = render_skill_list((await _find(files)).skills)
    assert len(listed) < 10_000
    assert "more, by name only if asked for" in listed


async def test_a_body_is_read_only_when_it_is_wanted() -> None:
    source = MemoryFiles({"skills/one/SKILL.md": _skill("one"), "skills/one/big.md": "x"})
    empty = MemoryFiles({})
    found = await find_skills(
        SkillSettings(), project=None, folders=(), codex_home=source, user_home=empty, trusted=True
    )
    assert source.reads == ["skills/one/SKILL.md"]
    assert len(found.skills) == 1


async def test_read_skill_gives_what_is_below_the_skills_folder_and_nothing_else() -> None:
    found = await _find(
        {
            "auth.json": "secret",
            "skills/one/SKILL.md": _skill("one"),
            "skills/one/references/more.md": "more",
            "skills/one/logo.png": b"\x89PNG\xff",
            "skills/other/SKILL.md": _skill("other"),
        },
        {".agents/skills/beta/SKILL.md": _skill("beta")},
    )
    tool = make_read_skill_tool(found.skills)
    assert tool is not None

    async def read(**arguments: str) -> object:
        return (await tool.call(json.dumps(arguments), call_id="c")).content

    assert await read(skill="one") == _skill("one")
    assert await read(skill="$one", path="./references/more.md") == "more"
    for arguments, said in (
        ({"skill": "one", "path": "../other/SKILL.md"}, "without `..`"),
        ({"skill": "one", "path": "/home/u/.codex/auth.json"}, "below the skill's folder"),
        ({"skill": "one", "path": "missing.md"}, "it has: SKILL.md, logo.png, references/more.md"),
        ({"skill": "one", "path": "logo.png"}, "not UTF-8 text"),
        ({"skill": "beta"}, "there are: one, other"),
        ({}, "the argument skill is missing"),
        ({"skill": "one", "file": "x"}, "has no argument file"),
    ):
        with pytest.raises(ToolProblem, match=said):
            await read(**arguments)


async def test_there_is_no_tool_where_every_skill_is_in_the_workspace() -> None:
    found = await _find({}, {".agents/skills/beta/SKILL.md": _skill("beta")})
    assert make_read_skill_tool(found.skills) is None
    assert "read_skill" not in render_skill_list(found.skills)
    assert render_skill_list(()) == ""
