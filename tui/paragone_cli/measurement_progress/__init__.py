"""The progress of long measurements, on standard error."""
