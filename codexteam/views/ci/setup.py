"""What `ci init` prints beside the files that it wrote."""

from codexteam.app.ci.gitlab import PushedBranch
from codexteam.config.pipeline_files import PipelineWanted
from codexteam.core.text import clean_line
from codexteam.views.streams import OutputStreams


def print_pushed(output: OutputStreams, pushed: PushedBranch) -> None:
    """Print what was pushed to GitLab."""
    if output.json_lines:
        output.record({"type": "branch.pushed", "branch": pushed.branch, "base": pushed.base})
        return
    output.write(f"{pushed.branch}\n")
    output.note(f"pushed; GitLab was asked for a merge request to {clean_line(pushed.base)}")


def print_nothing_to_publish(output: OutputStreams) -> None:
    """Print that a run has changed nothing."""
    if output.json_lines:
        output.record({"type": "branch.none"})
        return
    output.note("the run ended well and changed nothing: there is nothing to publish")


def print_pipeline(output: OutputStreams, wanted: PipelineWanted, system: str) -> None:
    """Print what is left to do on GitHub or GitLab."""
    if system == "gitlab":
        output.write(
            f"""
Next:
1. .gitlab-ci.yml: include `local: .gitlab/codexteam.yml`.
2. Settings, CI/CD, Variables: {clean_line(wanted.key)} with the model's key, masked, of the environment `codexteam`; and
   CODEXTEAM_TOKEN, masked, of the environment `codexteam-publish`: a project's access token with the scopes api and
   write_repository and the role Developer.
3. Runners must let bubblewrap make user namespaces, and must not hand the socket of Docker to jobs.
4. Jobs install {clean_line(wanted.package)}; --package SPEC names another source, such as a commit.
5. Make the label codexteam-plan. Commit the files, and merge them into the default branch.
"""
        )
        return
    output.write(
        f"""
Next:
1. Settings, Environments: make `codexteam`, with the secret {clean_line(wanted.key)}. Reviewers that it requires
   approve each job that asks a model.
2. Settings, Actions, General: allow GitHub Actions to create and approve pull requests.
3. Make the labels codexteam-plan and codexteam-run.
4. Jobs install {clean_line(wanted.package)}; --package SPEC names another source, such as a commit.
5. Your models and roles: .codex of the base branch counts, that of a pull request never.
6. Commit the files, and merge them into the default branch.
"""
    )
