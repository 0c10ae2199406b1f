"""Terminal specifics: clipboard, hang-up, and text without control sequences."""
