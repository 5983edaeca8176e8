"""ntkplan beside neural-tangents: `python -m benchmarks.peer`.

Both run on this machine, each in a process and a virtual environment of its own, and
take turns. `docs/performance.md` says what is measured and what was found.
"""
