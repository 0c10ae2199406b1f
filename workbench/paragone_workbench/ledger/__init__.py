"""The costs of runs, and what the same tokens would cost at providers."""
