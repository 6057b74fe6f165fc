"""Classes that other programs load: `harbor`."""
