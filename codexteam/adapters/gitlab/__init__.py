"""GitLab's API, as a job of its pipelines reaches it."""
