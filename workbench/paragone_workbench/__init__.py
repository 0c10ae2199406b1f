"""The application without a screen: config, engines, runs, lanes, scheduling and the store. It imports neither Textual nor Rich."""
