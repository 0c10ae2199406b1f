"""Commands for this machine: settings, environments, addresses contacted, usable backends."""
