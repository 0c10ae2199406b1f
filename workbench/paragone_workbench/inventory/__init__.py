"""What this machine can run, and what is missing for the rest."""
