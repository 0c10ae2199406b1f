"""Parse the JSON object in a reply, or in a part of a streamed one."""

from __future__ import annotations

import json

from paragone_remote.http.faults import ReportedFailure, error_text
from paragone_remote.http.transport import InvalidReply
from paragone_remote.json_fields import Data

__all__ = ["read_object"]


def read_object(text: str, *, invalid: str) -> Data:
    """Return the object.

    Raises InvalidReply with the message `invalid` if there is none, ReportedFailure if it reports an error.
    """
    try:
        found = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise InvalidReply(invalid) from error
    if not isinstance(found, dict):
        raise InvalidReply(invalid)
    if found.get("error"):
        raise ReportedFailure(error_text(json.dumps(found)) or "it gives no reason")
    return found
