"""Errors in the form of the OpenAI API."""

from __future__ import annotations

from paragone import ContextOverflow, EngineCrashed, InputError, Json, ParagoneError
from paragone.key_text import without_keys


class ApiError(Exception):
    """An error that is sent to a client.

    Attributes:
        status: The status code of HTTP.
        message: What failed, why, and what to do about it.
        param: The wrong field of the request; None if no field is wrong.
        code: A stable identifier for programs; None if there is none.
    """

    def __init__(
        self, status: int, message: str, *, param: str | None = None, code: str | None = None
    ) -> None:
        super().__init__(message)
        self.status = status
        self.message = message
        self.param = param
        self.code = code

    def to_json(self) -> dict[str, Json]:
        """Return the body of the response."""
        kind = "invalid_request_error" if self.status < 500 else "server_error"
        error = {"message": self.message, "type": kind, "param": self.param, "code": self.code}
        return {"error": error}


def api_error(error: ParagoneError) -> ApiError:
    """Return the HTTP error that a client gets for an engine's error."""
    message = without_keys(str(error))
    match error:
        case ContextOverflow():
            return ApiError(400, message, code="context_length_exceeded")
        case InputError():
            return ApiError(400, message)
        case EngineCrashed():
            return ApiError(500, message, code="engine_crashed")
        case _:
            return ApiError(500, message)
