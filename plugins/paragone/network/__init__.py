"""The addresses that this process contacts: those that engines name, and none while it is offline."""
