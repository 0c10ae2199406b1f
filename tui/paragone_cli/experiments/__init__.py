"""Commands for suites of prompts, and for the ratings that follow from votes."""
