"""A value is taken for another type."""

import tidegate


def count(context: tidegate.Context) -> int:
    return 1


release = tidegate.Pipeline("release")
counted = release.step(count)
with tidegate.Engine("release.db") as engine:
    text: str = engine.run(release).value(counted)  # wrong: text: str -> text: int
