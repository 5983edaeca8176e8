"""What there is to choose from, for any sizes and on any device."""

from __future__ import annotations

import functools
import itertools
import math
from collections.abc import Iterable, Mapping, Sequence

import numpy

from ntkplan._jax import Var, array_shape, primitives
from ntkplan.cost.formula_tables import FormulaTable
from ntkplan.cost.work import OperationKind, formula_texts
from ntkplan.ir.graph import KernelGraph
from ntkplan.ir.kernel import KernelSpec
from ntkplan.ir.use import Layer, Stack
from ntkplan.methods import network
from ntkplan.methods.candidate import Candidate
from ntkplan.methods.cut import candidates as cut_candidates
from ntkplan.planner.all_candidates import all_candidates
from ntkplan.planner.forms import Forms
from ntkplan.planner.moved import Moved, Passing, entries, recorded_variables
from ntkplan.planner.request import MethodRequest
from ntkplan.rules.equation_work import Counted, DerivativeCounts, count_forward
from ntkplan.rules.work.linearized import Linearized


class Study:
    """A model's layers with their candidates, and counts of the model's passes.

    Everything is written in symbols and made once; a plan for other sizes or another
    device starts from here.

    Attributes:
        graph: The model of one example.
        layers: Its layers that are not idle.
        spec: The kernel.
        frame: Labels that all leaves of the kernel share.
        fixed_outputs: Whether the outputs are the values at a cut, so that their number
            is not the symbol `n_outputs`.
        cut: What stands for the leaves behind a cut, the last of the layers; or None.
        dtype: The data type that most of the work is done in.
        candidates: Every candidate of every layer.
        allowed: Which of them a user allows, for every request that was made.
    """

    def __init__(
        self,
        graph: KernelGraph,
        layers: Sequence[Layer],
        spec: KernelSpec,
        *,
        cut: Layer | None = None,
        fixed_outputs: bool = False,
        known: Study | None = None,
    ) -> None:
        self.graph = graph
        self.layers = (*layers, cut) if cut else tuple(layers)
        self.spec = spec
        self.frame = network.frame(spec, fixed_outputs=fixed_outputs)
        self.fixed_outputs = fixed_outputs
        self.cut = cut
        self.dtype = self.layers[0].leaf.dtype
        ready: dict[Layer, tuple[Candidate, ...]] = {}
        if known is not None:
            ready = dict(zip(known.layers, known.candidates, strict=True))
        self.candidates = all_candidates(layers, self.frame, self.itemsize, ready)
        if cut is not None:
            made = cut_candidates(cut, self.frame, self.itemsize)
            self.candidates = (*self.candidates, made)
        self._known = known
        self._formulas: dict[int, Mapping[str, str]] = {}
        self.allowed: dict[MethodRequest, tuple[tuple[bool, ...], ...]] = {}
        self._forms: dict[bool, Forms] = {}
        self._variants: dict[object, Study] = {}
        self._moved: dict[tuple[Layer, ...], Moved] = {}
        self._onward: dict[frozenset[int], int] = {}
        self._tangents: dict[tuple[Var, ...], Passing] = {}
        self._active: dict[frozenset[Var], frozenset[Var]] = {}
        self._sweeps: dict[frozenset[Var], Counted] = known._sweeps if known else {}
        self._pushes: dict[frozenset[Var], Counted] = known._pushes if known else {}
        self._unfused_sweeps: dict[frozenset[Var], Counted] = {}
        self._unfused_pushes: dict[frozenset[Var], Counted] = {}
        self._linearized: dict[frozenset[Var], Linearized] = (
            known._linearized if known else {}
        )

    @property
    def itemsize(self) -> int:
        """Bytes of one number."""
        return 2 if self.dtype == "bfloat16" else numpy.dtype(self.dtype).itemsize

    @property
    def parameter_bytes(self) -> int:
        """Bytes of all parameters."""
        return self.itemsize * sum(leaf.size for leaf in self.graph.leaves)

    @functools.cached_property
    def prepared_bytes(self) -> int:
        """Bytes of what is computed from parameters alone and meets examples."""
        given = frozenset(self.graph.shared_variables)
        shared, read = set(given), set[Var]()
        for item in self.graph.body.equations:
            inputs = {atom for atom in item.inputs if isinstance(atom, Var)}
            if inputs <= shared:
                shared.update(item.outputs)
            else:
                read |= inputs
        return self.itemsize * sum(map(entries, (shared - given) & read))

    def variant(
        self, layers: Iterable[Layer], *, cut: Layer | None = None, name: object = None
    ) -> Study:
        """Returns a study of the same model with other layers; what is known is kept.

        Args:
            layers: The layers, those of this study or others for the same leaves.
            cut: What stands for the leaves behind a cut, if there is one.
            name: Variants of one name are the same, and made once. None makes a new
                one.
        """
        if name is None or name not in self._variants:
            made = Study(
                self.graph,
                list(layers),
                self.spec,
                cut=cut,
                fixed_outputs=self.fixed_outputs,
                known=self,
            )
            if name is None:
                return made
            self._variants[name] = made
        return self._variants[name]

    def formulas(self, candidate: Candidate, *, symmetric: bool) -> Mapping[str, str]:
        """Returns the formulas of what a candidate's work counts, by its name for it.

        Args:
            candidate: A candidate of this study.
            symmetric: Whether `x2` is absent.
        """
        work = candidate.symmetric_work if symmetric else candidate.work
        # Candidates of equal layers have the same work, which the study keeps alive.
        if id(work) not in self._formulas:
            self._formulas[id(work)] = formula_texts(work)
        return self._formulas[id(work)]

    def forms(self, *, symmetric: bool) -> Forms:
        """Returns the forms of all candidates.

        Args:
            symmetric: Whether `x2` is absent.
        """
        if symmetric not in self._forms:
            self._forms[symmetric] = Forms(
                self.candidates, self._table, symmetric=symmetric
            )
        return self._forms[symmetric]

    @functools.cached_property
    def _table(self) -> FormulaTable:
        """The work of all candidates, with `x2` and without: most of it is the same."""
        return FormulaTable(
            work
            for candidate in itertools.chain.from_iterable(self.candidates)
            for work in (candidate.symmetric_work, candidate.work)
        )

    def moved(self, layers: Sequence[Layer]) -> Moved:
        """Returns what derivatives of some tapped layers pass, and what is held."""
        asked = tuple(layers)
        if asked not in self._moved:
            self._moved[asked] = self._movement(asked)
        return self._moved[asked]

    def _movement(self, layers: Sequence[Layer]) -> Moved:
        taps = [layer.taps for layer in layers if not layer.by_tangents]
        small = [layer.leaf for layer in layers if layer.by_tangents]
        pulled = self.active(itertools.chain.from_iterable(taps))
        pushed = self.active(leaf.variable for leaf in small)
        every = dict.fromkeys(tap for layer in layers for tap in layer.taps)
        return Moved(
            pulled=pulled,
            pushed=pushed,
            n_tangents=sum(leaf.size for leaf in small),
            of_pulled=Passing.of(pulled, self._derivatives),
            of_pushed=Passing.of(pushed, self._derivatives),
            waiting_of=self._derivatives.waiting(every, pulled),
            base_of=self._derivatives.bases(every, self.active(every)),
            recorded_entries=sum(map(entries, recorded_variables(layers))),
        )

    def active(self, variables: Iterable[Var]) -> frozenset[Var]:
        """Returns the variables through which cotangents flow back to some others."""
        asked = frozenset(variables)
        if asked not in self._active:
            self._active[asked] = self.graph.downstream(asked) & self._reaches_output
        return self._active[asked]

    @functools.cached_property
    def _reaches_output(self) -> frozenset[Var]:
        outputs = [atom for atom in self.graph.body.outputs if isinstance(atom, Var)]
        return self.graph.upstream(outputs)

    def onward_flops(self, pushed: frozenset[int]) -> int:
        """Counts what products of matrices do to one tangent of one example.

        A lower bound of what carrying tangents on to the output takes: other
        operations, and products inside of loops and branches, are left out, and so are
        those in which the leaves themselves are multiplied.

        Args:
            pushed: Numbers of the layers that the tangents are of.
        """
        if pushed not in self._onward:
            layers = [self.layers[number] for number in pushed]
            own = {tap for layer in layers for tap in layer.taps}
            active = self.active(layer.leaf.variable for layer in layers) - own
            self._onward[pushed] = sum(
                flops for variable, flops in self._product_flops if variable in active
            )
        return self._onward[pushed]

    @functools.cached_property
    def own_flops(self) -> tuple[int, ...]:
        """What a product with the activations does to one tangent of every leaf."""
        return tuple(
            sum(_own_flops(stack) for stack in layer.stacks if not layer.opaque)
            for layer in self.layers
        )

    @functools.cached_property
    def data_entries(self) -> int:
        """Entries of one example."""
        return sum(map(entries, self.graph.data))

    @functools.cached_property
    def _product_flops(self) -> tuple[tuple[Var, int], ...]:
        """The result of every product, and its additions and multiplications."""
        found = []
        for equation in self.graph.body.equations:
            if equation.primitive is primitives.dot_general_p:
                (contracted, _), _ = equation.parameters["dimension_numbers"]
                left = array_shape(equation.inputs[0])
                length = math.prod(left[axis] for axis in contracted)
            elif equation.primitive is primitives.conv_general_dilated_p:
                kernel = array_shape(equation.inputs[1])
                numbers = equation.parameters["dimension_numbers"]
                length = math.prod(kernel) // kernel[numbers.rhs_spec[0]]
            else:
                continue
            (result,) = equation.outputs
            found.append((result, 2 * length * math.prod(array_shape(result))))
        return tuple(found)

    @functools.cached_property
    def forward(self) -> Counted:
        """One forward pass."""
        return count_forward(
            self.graph.body.equations,
            itemsize=self.itemsize,
            shared=self.graph.shared_variables,
        )

    @functools.cached_property
    def convolves(self) -> bool:
        """Whether the forward pass has convolutions, in loops or not."""
        operations = self.forward.at(n=1).operations
        return any(each.kind is OperationKind.CONVOLUTION for each in operations)

    @functools.cached_property
    def _derivatives(self) -> DerivativeCounts:
        if self._known is not None:
            return self._known._derivatives
        return DerivativeCounts(
            self.graph.body.equations, shared=self.graph.shared_variables
        )

    def sweep(self, active: frozenset[Var]) -> Counted:
        """Returns what pulling back to some variables takes, see `active`."""
        if active not in self._sweeps:
            self._sweeps[active] = self._derivatives.sweep(active)
        return self._sweeps[active]

    def linearized(self, active: frozenset[Var]) -> Linearized:
        """Returns the memory that pushing tangents of some variables takes."""
        if active not in self._linearized:
            self._linearized[active] = self._derivatives.linearized(active)
        return self._linearized[active]

    def tangents_moved(self, leaves: Sequence[Var]) -> Passing:
        """Returns the sizes of what tangents of some leaves pass on their way."""
        asked = tuple(leaves)
        if asked not in self._tangents:
            passed = self.active(asked).difference(asked)
            self._tangents[asked] = Passing.of(passed, self._derivatives)
        return self._tangents[asked]

    def push(self, active: frozenset[Var]) -> Counted:
        """Returns what pushing tangents of some variables forward takes."""
        if active not in self._pushes:
            self._pushes[active] = self._derivatives.push(active)
        return self._pushes[active]

    def sweep_unfused(self, active: frozenset[Var]) -> Counted:
        """Returns of a sweep what is joined with nothing, which is soon counted."""
        known = self._unfused_sweeps
        if active not in known:
            known[active] = self._derivatives.sweep_unfused(active)
        return known[active]

    def push_unfused(self, active: frozenset[Var]) -> Counted:
        """Returns of a push what is joined with nothing, which is soon counted."""
        known = self._unfused_pushes
        if active not in known:
            known[active] = self._derivatives.push_unfused(active)
        return known[active]


def _own_flops(stack: Stack) -> int:
    use = stack.first
    if use.hot is not None:
        return 0
    labels = {*use.value, *use.parameter, *use.activations}
    return 2 * math.prod(use.sizes[label] for label in labels) * len(stack.uses)
