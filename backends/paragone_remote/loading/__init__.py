"""Models that servers load on demand: who loaded a model, and when the model is unloaded."""
