import pytest
import sympy

from ntkplan.cost import symbols
from ntkplan.cost.symbols import compile_works, evaluate
from ntkplan.cost.work import Operation, OperationKind, Work

AT = {symbols.n1: 3, symbols.n2: 5, symbols.n_outputs: 7}


def work_of(*sizes) -> Work:
    return Work(
        operations=tuple(
            Operation(kind=OperationKind.DOT, m=size, flops=2 * size) for size in sizes
        ),
        peak_bytes=sizes[0] if sizes else 0,
    )


@pytest.mark.parametrize(
    "formula",
    [
        symbols.n1,
        4 * symbols.n1 * symbols.n_outputs**2 + 7,
        (symbols.n1 + symbols.n2) ** 2 * symbols.n_outputs,
        sympy.Max(symbols.n1 * 10, symbols.n2**2),
        sympy.Min(symbols.n1, symbols.n2, 4),
        sympy.ceiling(symbols.n1 / 2) * symbols.n2,
        sympy.floor(symbols.n_outputs / 2),
        symbols.n1 * (symbols.n1 + 1) / 2,
        symbols.n1 - symbols.n2,
        sympy.Rational(3, 4) * symbols.n2,
        sympy.Piecewise((symbols.n1, symbols.n1 > symbols.n2), (symbols.n2, True)),
        sympy.sqrt(symbols.n2),
    ],
    ids=str,
)
def test_values_are_those_of_sympy(formula):
    (found,) = evaluate([work_of(formula)], n1=3, n2=5, n_outputs=7)
    assert found.operations[0].m == pytest.approx(float(formula.subs(AT)), rel=1e-12)
    assert found.operations[0].flops == pytest.approx(2 * float(formula.subs(AT)))


def test_whole_numbers_stay_whole_and_exact():
    formula = symbols.n1**9 * symbols.n2**9 * symbols.n_outputs + 1
    (found,) = evaluate([work_of(formula)], n1=1001, n2=1003, n_outputs=3)
    assert found.operations[0].m == 1001**9 * 1003**9 * 3 + 1
    assert type(found.operations[0].m) is int


def test_numbers_pass_untouched():
    work = work_of(12, 13)
    assert evaluate([work], n1=1, n2=1, n_outputs=1)[0] is work


def test_sums_of_evaluated_work_are_plain_numbers():
    (found,) = evaluate(
        [work_of(symbols.n1, sympy.sqrt(symbols.n1))], n1=4, n2=1, n_outputs=1
    )
    assert found.flops == 12
    assert not isinstance(found.flops, sympy.Expr)


def test_sums_of_formulas_are_formulas():
    assert work_of(symbols.n1, 3).flops == 2 * symbols.n1 + 6


def test_a_compiled_function_is_reused():
    at = compile_works([work_of(symbols.n1), work_of(symbols.n2, symbols.n_outputs)])
    for n1, n2, n_outputs in ((1, 2, 3), (40, 50, 60)):
        first, second = at(n1, n2, n_outputs)
        assert [item.m for item in first.operations] == [n1]
        assert [item.m for item in second.operations] == [n2, n_outputs]


def test_a_symbol_of_somebody_else_is_refused():
    stranger = sympy.Symbol("stranger")
    with pytest.raises(NameError):
        evaluate([work_of(stranger)], n1=1, n2=1, n_outputs=1)


def test_all_operations_are_evaluated_by_one_function(monkeypatch):
    made: list[int] = []
    compile_formulas = symbols.compile_formulas

    def counted(formulas):
        made.append(len(formulas))
        return compile_formulas(formulas)

    monkeypatch.setattr(symbols, "compile_formulas", counted)

    def operation(size) -> Operation:
        return Operation(
            kind=OperationKind.DOT,
            m=symbols.n1 * size,
            flops=symbols.n1 * symbols.n2 * size,
            bytes_read=symbols.n1 * size,
        )

    works = [Work(operations=tuple(map(operation, sizes))) for sizes in ((2, 3), (3,))]
    first, second = evaluate(works, n1=3, n2=5, n_outputs=7)
    assert made == [4]
    assert [item.flops for item in first.operations] == [30, 45]
    assert second.operations == first.operations[1:]
