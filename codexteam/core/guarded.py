"""What no task may write unless its own paths name it: files that later run, or steer agents, with more rights.

Matched case-folded, see `core.paths`. Configuration adds to these and cannot take away.
"""

#: Git's own: attributes and submodules name programs and places that later git commands obey.
_GIT = ("**/.git", "**/.gitattributes", "**/.gitmodules", "**/.lfsconfig", "**/.gitconfig", "**/.mailmap")
#: Run by the user's git, shell or editor on its own.
_HOOKS = (
    ".githooks",
    ".git-hooks",
    "**/.husky",
    ".pre-commit-config.yaml",
    ".pre-commit-hooks.yaml",
    "lefthook.y*ml",
    ".lefthook*",
    "**/.envrc",
    "**/.vscode",
    "**/.idea",
    "**/.devcontainer",
    "**/.devcontainer.json",
)
#: Run by CI, with CI's secrets.
_CI = (
    ".github/workflows",
    ".github/actions",
    "**/action.y*ml",
    ".github/dependabot.y*ml",
    "**/CODEOWNERS",
    "**/.gitlab-ci*.y*ml",
    ".gitlab/ci",
    ".circleci",
    ".buildkite",
    ".ci",
    ".travis.yml",
    ".drone.yml",
    ".woodpecker*",
    "azure-pipelines*.y*ml",
    ".azure-pipelines",
    "bitbucket-pipelines.yml",
    "**/Jenkinsfile*",
    "appveyor.yml",
    ".appveyor.yml",
    ".cirrus.yml",
    ".semaphore",
    ".forgejo",
    ".gitea",
)
#: Where packages come from.
_REGISTRIES = ("**/.npmrc", "**/.yarnrc*", "**/.pnpmfile.cjs", "**/pip.conf", "**/.pypirc", "**/.cargo/config*")
#: What steers agents, codexteam's own files among it.
_AGENTS = (
    "**/.codex",
    "**/.agents",
    "**/.claude",
    "**/.cursor",
    "**/.mcp.json",
    "**/AGENTS.md",
    "**/AGENTS.override.md",
    "**/CLAUDE.md",
    ".github/copilot-instructions.md",
    "plan.md",
    ".worktreeinclude",
)

#: The built-in guarded globs.
GUARDED_PATHS: tuple[str, ...] = _GIT + _HOOKS + _CI + _REGISTRIES + _AGENTS
