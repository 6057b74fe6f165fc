"""Composition: settings become adapters, adapters become a run. The only place that picks adapters."""
