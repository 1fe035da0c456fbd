"""A step is given fewer values than its function takes."""

import tidegate


def join(context: tidegate.Context, a: str, b: str) -> str:
    return a + b


release = tidegate.Pipeline("release")
named = release.command("name", ["git", "describe"], output="text")
release.step(join, named)  # wrong: join, named -> join, named, named
