"""The addresses that engines contact, and none while paragone is offline."""
