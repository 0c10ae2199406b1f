"""Commands that measure engines: speed, fidelity, memory."""
