"""Files of prompts, and the assertions that check the answers."""
