"""What is special about terminals: their clipboard, their end, and text that must not steer them."""
