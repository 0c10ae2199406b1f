"""The application without a screen: config, engines, runs, lanes, scheduling and the store, without Textual and Rich."""
