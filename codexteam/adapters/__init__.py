"""The world: one third-party client each, translated at the border."""
