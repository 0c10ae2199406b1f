"""The subjects of reports: experiments and conversations of the history."""
