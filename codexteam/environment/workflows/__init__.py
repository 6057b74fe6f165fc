"""What a CI workflow says about how a repository's tests are run; it is read, never executed as such."""
