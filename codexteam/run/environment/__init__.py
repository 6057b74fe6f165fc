"""A run's environment: which plan is built, how its steps are run, and in what each commit's commands work."""
