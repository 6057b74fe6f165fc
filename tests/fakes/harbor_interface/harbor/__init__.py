"""Part of a stand-in for Harbor."""
