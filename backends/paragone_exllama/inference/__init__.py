"""Computing tokens with an open model: answers, log-probabilities, distributions."""
