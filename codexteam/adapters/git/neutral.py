"""The one environment and the one set of flags for git, in which nothing that a repository says is run."""

import os

#: No file of this name exists: programs looked up below it are not found, settings read from it are empty.
_NOWHERE = "/nonexistent"

#: Written to a bare repository's `info/attributes`, which beats every tracked `.gitattributes`.
ATTRIBUTES = b"* diff merge !filter -ident -text !working-tree-encoding !export-subst !export-ignore\n"


def neutral_environment(*, git_dir: str | None, work_tree: str | None = None) -> dict[str, str]:
    """Give git's whole environment, made from nothing.

    Args:
        git_dir: what git works on; None only for finding a repository, which is then looked for from the folder
            git starts in.
        work_tree: for the few calls that look at the user's files.
    """
    environment = {
        "PATH": "/usr/local/bin:/usr/bin:/bin",
        "HOME": _NOWHERE,
        "XDG_CONFIG_HOME": _NOWHERE,
        "LC_ALL": "C",
        "TZ": "UTC",
        "GIT_CONFIG_NOSYSTEM": "1",
        "GIT_CONFIG_GLOBAL": os.devnull,
        "GIT_ATTR_NOSYSTEM": "1",
        "GIT_TERMINAL_PROMPT": "0",
        "GIT_ASKPASS": "/bin/false",
        "SSH_ASKPASS": "/bin/false",
        "GIT_SSH_COMMAND": "/bin/false",
        "GIT_PROXY_COMMAND": "/bin/false",
        "GIT_EDITOR": "/bin/false",
        "GIT_PAGER": "cat",
        "GIT_OPTIONAL_LOCKS": "0",
        "GIT_NO_REPLACE_OBJECTS": "1",
        "GIT_NO_LAZY_FETCH": "1",
        "GIT_ALLOW_PROTOCOL": "none",
        "GIT_LFS_SKIP_SMUDGE": "1",
        "GIT_LITERAL_PATHSPECS": "1",
        "GIT_GRAFT_FILE": os.devnull,
        "GIT_ADVICE": "0",
    }
    if git_dir is not None:
        environment["GIT_DIR"] = git_dir
    if work_tree is not None:
        environment["GIT_WORK_TREE"] = work_tree
    return environment


def neutral_flags(*, excludes_file: str | None = None, discover: bool = False) -> list[str]:
    """Give the flags that stand before git's subcommand; they beat what the repository's own configuration says.

    Args:
        excludes_file: the user's list of ignored files, for calls that look at the work tree.
        discover: leave alone what the user's git finds a repository by, and that list.
    """
    settings = {
        "core.hooksPath": os.devnull,
        "core.fsmonitor": "false",
        "core.untrackedCache": "false",
        "core.protectHFS": "true",
        "core.protectNTFS": "true",
        "core.symlinks": "false",
        "core.attributesFile": os.devnull,
        "core.alternateRefsCommand": "",
        "core.sshCommand": "/bin/false",
        "core.editor": "/bin/false",
        "core.pager": "cat",
        "credential.helper": "",
        "protocol.allow": "never",
        "submodule.recurse": "false",
        "fetch.recurseSubmodules": "false",
        "gc.auto": "0",
        "maintenance.auto": "false",
        "commit.gpgSign": "false",
        "tag.gpgSign": "false",
        "gpg.program": "/bin/false",
        "transfer.fsckObjects": "true",
        "merge.renormalize": "false",
        "merge.verifySignatures": "false",
        "pack.threads": "1",
        # the store names a commit and is synced: after a power cut its objects and refs must be there too, as git has
        # only packs by default
        "core.fsync": "committed,reference",
        # a hostile pack of many objects must not be mapped whole
        "core.packedGitWindowSize": "32m",
        "core.packedGitLimit": "512m",
    }
    if not discover:
        settings |= {"safe.bareRepository": "explicit", "core.excludesFile": excludes_file or os.devnull}
    flags = ["--no-pager", "--no-replace-objects", "--literal-pathspecs"]
    for key, value in settings.items():
        flags += ["-c", f"{key}={value}"]
    return flags
