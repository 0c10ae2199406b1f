"""The transcript of a lane: prompts, thoughts, answers and notes, painted where they change."""

from paragone import Channel
from paragone_tui.transcript.block import Block, Kind
from paragone_tui.transcript.view import Transcript

__all__ = ["Block", "Channel", "Kind", "Transcript"]
