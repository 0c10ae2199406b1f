"""A server that offers engines to other programs, with the protocol of OpenAI."""
