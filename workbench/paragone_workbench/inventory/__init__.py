"""What this machine can run: backends, engines, models and servers, and what is missing to use them."""
