"""What manifests and lock files say, one module for each family of packages."""
