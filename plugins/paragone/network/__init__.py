"""The addresses that this process contacts: the addresses that engines name, and none while paragone is offline."""
