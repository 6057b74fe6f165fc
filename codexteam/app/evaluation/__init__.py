"""`codexteam eval`: suites of tasks, tried by several arms, graded by hidden tests."""
