"""Engines: their definitions, the backends that open them, and their life cycle."""
