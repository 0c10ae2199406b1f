"""The screen that measures engines and shows which of them to deploy."""
