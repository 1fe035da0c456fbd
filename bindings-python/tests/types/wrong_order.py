"""A step is given values in the wrong order."""

import tidegate


def label(context: tidegate.Context, name: str, number: int) -> str:
    return f"{name}-{number}"


def count(context: tidegate.Context) -> int:
    return 1


release = tidegate.Pipeline("release")
named = release.command("name", ["git", "describe"], output="text")
counted = release.step(count)
release.step(label, counted, named)  # wrong: counted, named -> named, counted
