"""An open model: its weights and adapters, its vocabulary, its context, its memory."""
