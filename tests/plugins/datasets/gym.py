"""A corpus in name only: what a file of the user's own, or of another package, must hold at least."""

from edgehar import Dataset, Split, triad


class Gym(Dataset):
    """A corpus of the user's own."""

    title = "Gym of my own"
    rate_hz, window, hop, max_gap_s = 25.0, 64, 32, 0.2
    channels = triad("acc", "m/s^2", "wrist")
    classes = {"activity": ("squat", "lunge")}

    def split(self):
        return Split("gym", "fixed", ("a",), ("b",), ("c",))

    def recordings(self):
        return iter(())
