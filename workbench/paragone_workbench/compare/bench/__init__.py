"""Measures the speed of engines: prefill, decode and latency, at several prompt lengths and depths."""
