"""What this machine can run: backends, engines, models, servers, and what is missing for them."""
