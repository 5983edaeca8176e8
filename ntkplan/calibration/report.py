"""What a calibration tells its user."""

from __future__ import annotations

from ntkplan.cost.profile import DeviceProfile
from ntkplan.cost.work import Variant


def report(profile: DeviceProfile) -> str:
    """Returns a table of the rates and how well they predict unseen samples."""
    launch, source = profile.launch, profile.provenance
    lines = [
        f"{profile.name}: call {launch.call_overhead_s * 1e6:.2f} us, iteration of a "
        f"loop {launch.loop_overhead_s * 1e9:.0f} ns; noise median "
        f"{source.noise_median_fraction:.1%}, p90 {source.noise_p90_fraction:.1%}",
        f"{'class':46} {'programs':>8} {'GFLOP/s':>9} {'read':>7} {'write':>7} GB/s"
        "  error: own, held out, p90",
    ]
    for rate in profile.rates:
        if rate.fit is None:
            continue
        title = f"{rate.kind} {rate.dtype}"
        if rate.variant is not Variant.PLAIN:
            title += f" {rate.variant}"
        if rate.precision != "default":
            title += f" {rate.precision}"
        lines.append(
            f"{title:46} {len(rate.fit.samples):8} "
            f"{rate.peak_flops_per_s / 1e9:9.1f} "
            f"{rate.read_bytes_per_s / 1e9:7.1f} "
            f"{rate.write_bytes_per_s / 1e9:7.1f}      "
            f"{rate.fit.median_error_fraction:13.0%} "
            f"{rate.fit.held_out_median_error_fraction:8.0%} "
            f"{rate.fit.held_out_p90_error_fraction:5.0%}"
        )
    return "\n".join(lines)
