"""A small profile to take apart."""

import tomllib

from ntkplan.cost.profile import DeviceProfile
from ntkplan.cost.schema import profile_from_fields

TEXT = """
schema_version = 1
name = "toy"
platform = "cpu"
device_kind = "toy"
cores = 4

[provenance]
origin = "datasheet"
date = 2026-01-31
sources = ["nobody"]

[memory]
capacity_bytes = 1000000
usable_bytes = 800000
scratch_margin_fraction = 0.1
fresh_buffer_bytes = 1000

[launch]
call_overhead_s = 1e-5
loop_overhead_s = 1e-7

[[rates]]
kind = "dot"
dtype = "float32"
precision = "default"
peak_flops_per_s = 1e9
half_efficiency_m = 10.0
read_bytes_per_s = 1e9
write_bytes_per_s = 5e8
fresh_write_bytes_per_s = 1e8
transcendentals_per_s = 1e8
overhead_s = 1e-6

[[rates]]
kind = "elementwise"
dtype = "float32"
precision = "default"
peak_flops_per_s = 1e9
read_bytes_per_s = 1e9
write_bytes_per_s = 5e8
fresh_write_bytes_per_s = 1e8
transcendentals_per_s = 1e8
overhead_s = 1e-6
"""


def fields() -> dict:
    return tomllib.loads(TEXT)


def toy() -> DeviceProfile:
    return profile_from_fields(fields(), where="toy")
