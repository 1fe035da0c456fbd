"""A way to end that there is not."""

import tidegate

release = tidegate.Pipeline("release")
build = release.command("build", ["make"])
release.command("tell", ["mail"], after=[(build, "failed")])  # wrong: "failed" -> "failure"
