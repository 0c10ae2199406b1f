"""What engines need to chat: templates, prompts that fit, and the text that tokens make.

For engines whose library, or whose server, leaves some of this to them. `paragone.chat.template`
needs jinja2, the rest the standard library alone; nothing here is imported by `import paragone`.
"""
