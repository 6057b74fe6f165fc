"""Spans and metrics of a run, sent to a collector of OpenTelemetry."""
