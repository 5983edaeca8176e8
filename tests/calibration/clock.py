"""A clock that programs move by hand."""

import dataclasses

from ntkplan.calibration.programs import Timed


@dataclasses.dataclass
class FakeClock:
    """Tells the time that its programs took."""

    now_s: float = 0.0

    def __call__(self) -> float:
        return self.now_s


class FakeProgram(Timed):
    """A program whose rounds take as long as it says."""

    def __init__(self, clock: FakeClock, round_s: float, spread: float = 0.0) -> None:
        super().__init__(function=print, arguments=(), expected_s=round_s)
        self.clock, self.round_s, self.spread = clock, round_s, spread

    def round(self) -> None:
        self.clock.now_s += self.round_s
        number = len(self.rounds)
        self.rounds.append(self.round_s * (1 + self.spread * (number % 3)))
