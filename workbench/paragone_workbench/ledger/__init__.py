"""What runs cost, and what the same tokens would cost at providers."""
