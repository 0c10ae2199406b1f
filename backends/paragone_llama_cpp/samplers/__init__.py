"""Samplers, which select the next token, and grammars and schemas, which constrain the selection."""
