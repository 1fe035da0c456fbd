"""A function that takes no context."""

import tidegate

release = tidegate.Pipeline("release")


def build(name: str) -> str:  # wrong: name: str -> context: tidegate.Context
    return "built"


release.step(build)
