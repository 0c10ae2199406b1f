"""The servers behind the protocol: their kind, their models, their defaults, their queue."""
