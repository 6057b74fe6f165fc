"""The git adapter: the hub, quarantines, merges and the one ref in the user's repository.

Everything goes through one neutral way to call git (`neutral`, `runner`). Nothing that an agent wrote is opened as a
repository; its packs are indexed strictly in a quarantine and walked over raw bytes (`quarantine`, `walk`, `policy`).
"""
