"""What carries a run: the loop that asks `step`, and what performs its effects over the ports."""
