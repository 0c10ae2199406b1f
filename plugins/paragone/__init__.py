"""The plugin interface of paragone: what a backend is written against.

Importing this takes the standard library only. `paragone.hooks` (the hook that a plugin
implements) and `paragone.testing` (the conformance suite) are imported by themselves.
"""

from paragone.backend import (
    Backend,
    Capabilities,
    EndpointReport,
    OnProgress,
    OpenEngine,
    Probe,
    PullProgress,
)
from paragone.engine import Cancelled, Engine, Report
from paragone.errors import ContextOverflow, EngineCrashed, EngineError, InputError, ParagoneError
from paragone.events import (
    Alternative,
    Caution,
    Channel,
    Event,
    Finish,
    FinishReason,
    LoadProgress,
    PromptProgress,
    Timings,
    Token,
    Usage,
)
from paragone.messages import Image, Message, OpenRequest, Role, RunRequest, ScoreRequest
from paragone.models import LoadedModel, ModelInfo
from paragone.options import Options, option
from paragone.wire import Json

__all__ = [
    "Alternative",
    "Backend",
    "Cancelled",
    "Capabilities",
    "Caution",
    "Channel",
    "ContextOverflow",
    "EndpointReport",
    "Engine",
    "EngineCrashed",
    "EngineError",
    "Event",
    "Finish",
    "FinishReason",
    "Image",
    "InputError",
    "Json",
    "LoadProgress",
    "LoadedModel",
    "Message",
    "ModelInfo",
    "OnProgress",
    "OpenEngine",
    "OpenRequest",
    "Options",
    "ParagoneError",
    "Probe",
    "PromptProgress",
    "PullProgress",
    "Report",
    "Role",
    "RunRequest",
    "ScoreRequest",
    "Timings",
    "Token",
    "Usage",
    "option",
]
