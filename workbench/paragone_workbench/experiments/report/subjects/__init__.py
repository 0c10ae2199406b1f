"""What reports are about: experiments and conversations of the history."""
