"""A decorated step takes another type than the step before it returns."""

import tidegate

release = tidegate.Pipeline("release")
named = release.command("name", ["git", "describe"], output="text")


@release.step(named)  # wrong: named -> release.step(lambda context: 1, name="one")
def double(context: tidegate.Context, number: int) -> int:
    return 2 * number
