"""What any layer may use of the running process: cancellation done right, and named fault points."""
