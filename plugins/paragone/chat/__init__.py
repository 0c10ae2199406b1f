"""Building blocks for engines: chat templates, prompts that fit the context, text from tokens.

Engines use the building blocks that their library or server lacks. `paragone.chat.template` needs jinja2; the other modules
need only the standard library. `import paragone` does not import this package.
"""
