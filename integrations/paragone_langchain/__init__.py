"""Any engine of paragone as a chat model of LangChain: `ChatParagone`."""

from paragone.installation import install_command

try:
    from paragone_langchain.chat_model import ChatParagone
except ModuleNotFoundError as error:
    if error.name != "langchain_core":
        raise
    raise ModuleNotFoundError(
        f"paragone_langchain needs LangChain. Install it with: {install_command('langchain')}",
        name=error.name,
    ) from error

__all__ = ["ChatParagone"]
