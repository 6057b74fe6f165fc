"""The skill that tells another agent, such as the user's Codex, when and how to use codexteam."""

from codexteam.config.starter import StarterFile

#: Where agents look for skills, relative to a repository's root.
SKILL_FOLDER = ".agents/skills/codexteam"

_TEXT = """\
---
name: codexteam
description: Hand a large goal to a team of agents. They plan it, work in parallel in sandboxes, \
merge, test and review until it is green. Also for reviewing a change without making one.
---

# codexteam

Use it for work that splits into several tasks, takes long, or has to be proven by tests and reviews. Do small edits yourself.
It works on commits: what is not committed is not part of a run. It spends money: ask your user for a budget first.

With the MCP server (`codexteam mcp`) use its tools; else the same commands in a shell:

1. `codexteam plan "GOAL" --budget 2usd` writes `plan.md`. Show it to your user, who may edit it.
2. `codexteam resume` works on that plan; `codexteam run "GOAL" --budget 5usd` does both. Both take minutes to hours: start them
   in the background.
3. `codexteam status --json` says how the run is. Look every few minutes, not every few seconds.
4. `codexteam inbox` lists what waits for a person. Pass on your user's answer, not your own:
   `codexteam answer ITEM "TEXT"`, `codexteam approve ITEM`.
5. `codexteam diff` shows the result, which is on the branch `codexteam/<run id>`. `codexteam apply` merges it into the
   checked-out branch, `codexteam pr` opens a pull request.

`codexteam review --base main` lets the gates judge a branch: exit code 0 is ship, 3 is block.

Exit codes: 0 green, 2 usage or configuration, 3 not green, 4 budget or limit, 5 waits for a person, 6 environment, 7 merge or
push. Errors say what to do next. After any interruption `codexteam resume` continues.
"""


def skill() -> tuple[StarterFile, ...]:
    """Return the files of the skill, relative to `SKILL_FOLDER`."""
    return (StarterFile("SKILL.md", _TEXT),)
