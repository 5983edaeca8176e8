"""A compiler for empirical (finite-width) neural tangent kernels in JAX."""

from ntkplan.api import check as check
from ntkplan.api import devices as devices
from ntkplan.api import ntk as ntk
from ntkplan.api import plan as plan
from ntkplan.errors import NtkPlanError as NtkPlanError
from ntkplan.errors import NtkPlanWarning as NtkPlanWarning
from ntkplan.plans import Kernel as Kernel
from ntkplan.plans import Plan as Plan
from ntkplan.run.tiles import kernel_in_tiles as kernel_in_tiles
from ntkplan.tree_plans import TreeKernel as TreeKernel
from ntkplan.tree_plans import TreePlan as TreePlan
