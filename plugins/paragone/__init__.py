"""The plugin interface of paragone: the types and base classes that a backend uses.

This package imports the standard library only. Import `paragone.assertions` (the interface of an
assertion), `paragone.hooks` (the hooks that plugins implement) and `paragone.testing` (the conformance
suite) separately.
"""

from paragone.backend import (
    API_VERSION,
    Backend,
    EndpointReport,
    OnProgress,
    OpenEngine,
    Probe,
    PullProgress,
)
from paragone.distributions import LogitsBlock
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
    Queued,
    RunSettings,
    Timings,
    Token,
    Usage,
)
from paragone.memory import DeviceMemory, MemoryEstimate, ModelLayout, ModelPart
from paragone.messages import (
    DistributionsRequest,
    Image,
    Message,
    OpenRequest,
    Role,
    RunRequest,
    ScoreRequest,
    TokenizeRequest,
    TopTokensRequest,
)
from paragone.models import Capabilities, LoadedModel, ModelInfo
from paragone.options import Options, option
from paragone.tokens import TokenizedText, Vocabulary, fingerprint
from paragone.weights import WeightsFile
from paragone.wire import Json

__all__ = [
    "API_VERSION",
    "Alternative",
    "Backend",
    "Cancelled",
    "Capabilities",
    "Caution",
    "Channel",
    "ContextOverflow",
    "DeviceMemory",
    "DistributionsRequest",
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
    "LogitsBlock",
    "MemoryEstimate",
    "Message",
    "ModelInfo",
    "ModelLayout",
    "ModelPart",
    "OnProgress",
    "OpenEngine",
    "OpenRequest",
    "Options",
    "ParagoneError",
    "Probe",
    "PromptProgress",
    "Queued",
    "PullProgress",
    "Report",
    "Role",
    "RunRequest",
    "RunSettings",
    "ScoreRequest",
    "Timings",
    "Token",
    "TokenizeRequest",
    "TokenizedText",
    "TopTokensRequest",
    "Usage",
    "Vocabulary",
    "WeightsFile",
    "fingerprint",
    "option",
]
