"""A probe that answers with a text."""

import tidegate


def probe() -> str:  # wrong: str -> bool
    raise ConnectionError("nobody there")


tidegate.Check(probe)
