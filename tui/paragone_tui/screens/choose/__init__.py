"""The screen that measures engines and says which one to deploy."""
