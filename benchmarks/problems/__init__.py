"""The models that are measured, in plain JAX, and their configurations."""

from benchmarks.problems.regret_table import REGRET as REGRET
from benchmarks.problems.table import PROBLEMS as PROBLEMS
from benchmarks.problems.table import Inputs as Inputs
from benchmarks.problems.table import Problem as Problem
