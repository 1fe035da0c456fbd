"""A step is given the value of a step that returns another type."""

import tidegate


def count(context: tidegate.Context) -> int:
    return 1


def shout(context: tidegate.Context, text: str) -> str:
    return text.upper()


release = tidegate.Pipeline("release")
counted = release.step(count)
named = release.command("name", ["git", "describe"], output="text")
release.step(shout, counted)  # wrong: counted -> named
