"""What native engines need to chat: templates, prompts that fit, and the text that tokens make.

For engines whose library does none of this. `paragone.chat.template` needs jinja2, the rest the
standard library alone; nothing here is imported by `import paragone`.
"""
