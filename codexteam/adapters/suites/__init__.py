"""Readers of evaluation suites: SWE-bench rows, Harbor task folders, folders of exercises."""
