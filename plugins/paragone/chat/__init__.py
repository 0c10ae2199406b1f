"""Building blocks for engines: chat templates, prompts that fit the context, text from tokens.

For engines whose library or server lacks these features. `paragone.chat.template` needs jinja2; the other modules
need only the standard library. `import paragone` does not import this package.
"""
