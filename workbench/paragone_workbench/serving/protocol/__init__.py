"""The OpenAI protocol as typed values: requests, the parts of answers, replies and errors."""
