"""Gates: a commit in, a verdict and findings out."""
