"""Parts of a report that reports of experiments and of conversations share."""
