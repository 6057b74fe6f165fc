"""A run's report in each of its formats."""
