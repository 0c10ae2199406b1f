"""Commands for this machine: settings, environments, and what it can run."""
