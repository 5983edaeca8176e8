"""How well the planner chooses for devices that are not there, by their compilers.

    python -m benchmarks.targets [tpu_v5e nvidia_h100] [--fit] [--reuse]

XLA compiles for a TPU v5e and for an H100 without either, and says of every piece of
the program how long it expects it to take. Every contraction order of ten layers is
compiled so, and the order that our device profile prefers is compared with the one that
the compiler believes to be fastest. Nothing here is measured.
"""
