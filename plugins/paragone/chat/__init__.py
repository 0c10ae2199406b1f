"""Building blocks for engines: chat templates, prompts that fit the context, text from tokens.

For engines whose library or server does not do this. `paragone.chat.template` needs jinja2, the rest
only the standard library. `import paragone` does not import this package.
"""
