"""The protocols between decisions and the world, and the values that cross them.

Each port has one real adapter (the sandbox two), one fake in `tests/fakes/`, and one contract test that both pass.
"""
