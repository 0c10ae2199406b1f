"""The user's settings (config.toml), and the state that the program itself saves."""
