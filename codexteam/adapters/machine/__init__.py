"""The machine that codexteam runs on: its clock, files, locks and checks."""
