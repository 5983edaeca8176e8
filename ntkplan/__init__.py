"""A compiler for empirical (finite-width) neural tangent kernels in JAX."""

from ntkplan.api import check as check
from ntkplan.api import devices as devices
from ntkplan.api import ntk as ntk
from ntkplan.api import plan as plan
from ntkplan.calibration.calibrate import calibrate as calibrate
from ntkplan.drop_in.implementation import NtkImplementation as NtkImplementation
from ntkplan.drop_in.ntk_function import empirical_ntk_fn as empirical_ntk_fn
from ntkplan.drop_in.vector_products import empirical_ntk_vp_fn as empirical_ntk_vp_fn
from ntkplan.errors import NtkPlanError as NtkPlanError
from ntkplan.errors import NtkPlanWarning as NtkPlanWarning
from ntkplan.export.artifact import Export as Export
from ntkplan.export.artifact import load_export as load_export
from ntkplan.plans import Kernel as Kernel
from ntkplan.plans import Plan as Plan
from ntkplan.random_signs import TraceEstimate as TraceEstimate
from ntkplan.random_signs import trace_estimate as trace_estimate
from ntkplan.run.tiles import kernel_in_tiles as kernel_in_tiles
from ntkplan.tree_plans import TreeKernel as TreeKernel
from ntkplan.tree_plans import TreePlan as TreePlan
