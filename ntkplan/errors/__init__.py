"""Every exception and warning of ntkplan; each builds its message from fields.

A message says what happened, where in the user's source, through which parameter,
and what to do about it.
"""

from ntkplan.errors.base import InternalError as InternalError
from ntkplan.errors.base import NtkPlanError as NtkPlanError
from ntkplan.errors.base import NtkPlanWarning as NtkPlanWarning
from ntkplan.errors.base import readable_bytes as readable_bytes
from ntkplan.errors.compiling import MiscompiledSumsWarning as MiscompiledSumsWarning
from ntkplan.errors.devices import CalibrationError as CalibrationError
from ntkplan.errors.devices import (
    InvalidDeviceProfileError as InvalidDeviceProfileError,
)
from ntkplan.errors.devices import TooLittleTimeError as TooLittleTimeError
from ntkplan.errors.devices import UnknownDeviceError as UnknownDeviceError
from ntkplan.errors.examples import InteractingExamplesError as InteractingExamplesError
from ntkplan.errors.examples import (
    UndecidedIndependenceWarning as UndecidedIndependenceWarning,
)
from ntkplan.errors.exports import ExportError as ExportError
from ntkplan.errors.exports import ExportFileError as ExportFileError
from ntkplan.errors.exports import ExportPlatformError as ExportPlatformError
from ntkplan.errors.exports import MissingExtraError as MissingExtraError
from ntkplan.errors.models import ComplexLeafError as ComplexLeafError
from ntkplan.errors.models import MutableReferenceError as MutableReferenceError
from ntkplan.errors.models import NoExampleAxisError as NoExampleAxisError
from ntkplan.errors.models import NoLeavesError as NoLeavesError
from ntkplan.errors.models import NonFloatLeafError as NonFloatLeafError
from ntkplan.errors.models import OutputError as OutputError
from ntkplan.errors.models import RunningStatisticsError as RunningStatisticsError
from ntkplan.errors.models import TracedConstantError as TracedConstantError
from ntkplan.errors.models import TracingError as TracingError
from ntkplan.errors.models import UnsupportedPrimitiveError as UnsupportedPrimitiveError
from ntkplan.errors.places import place_of as place_of
from ntkplan.errors.places import short_text as short_text
from ntkplan.errors.plan_text import ModelNeededError as ModelNeededError
from ntkplan.errors.plan_text import UnreadablePlanError as UnreadablePlanError
from ntkplan.errors.plan_text import UnwritablePlanError as UnwritablePlanError
from ntkplan.errors.printing import EndlessDerivativeError as EndlessDerivativeError
from ntkplan.errors.printing import NotPrintableError as NotPrintableError
from ntkplan.errors.printing import UnprintableError as UnprintableError
from ntkplan.errors.requests import ArgumentTypeError as ArgumentTypeError
from ntkplan.errors.requests import ConflictingOptionsError as ConflictingOptionsError
from ntkplan.errors.requests import InvalidSizeError as InvalidSizeError
from ntkplan.errors.requests import InvalidTilesError as InvalidTilesError
from ntkplan.errors.requests import KeywordArgumentError as KeywordArgumentError
from ntkplan.errors.requests import MemoryExceededError as MemoryExceededError
from ntkplan.errors.requests import MemoryLimitError as MemoryLimitError
from ntkplan.errors.requests import MethodNotApplicableError as MethodNotApplicableError
from ntkplan.errors.requests import MismatchedInputsError as MismatchedInputsError
from ntkplan.errors.requests import UnknownOptionError as UnknownOptionError
from ntkplan.errors.requests import VmapAxesError as VmapAxesError
from ntkplan.errors.results import InaccurateKernelError as InaccurateKernelError
from ntkplan.errors.results import ModelReferenceError as ModelReferenceError
from ntkplan.errors.results import ProblemReferenceError as ProblemReferenceError
from ntkplan.errors.results import SingularKernelError as SingularKernelError
from ntkplan.errors.results import UnwritableFileError as UnwritableFileError
