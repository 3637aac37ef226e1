"""What UCI HAR and HAPT share: the 30 subjects, and who of them is tested on."""

from __future__ import annotations

from edgehar.data.splits import Split

PUBLISHED_TEST = (2, 4, 9, 10, 12, 13, 18, 20, 24)


def published_split(dataset: str) -> Split:
    """The published test subjects; every fifth of the others, in rising order, is valid."""
    learn = [person for person in range(1, 31) if person not in PUBLISHED_TEST]
    valid = learn[4::5]
    train = [person for person in learn if person not in valid]
    return Split(dataset, "published", tuple(map(str, train)), tuple(map(str, valid)), tuple(map(str, PUBLISHED_TEST)))
