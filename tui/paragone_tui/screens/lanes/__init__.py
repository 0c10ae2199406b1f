"""The main screen: the lanes side by side, and the composer below."""
