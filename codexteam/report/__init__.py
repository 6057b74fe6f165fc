"""What is written about a run for people and programs: reads the store, writes files."""
