"""An option that there is not."""

import tidegate

release = tidegate.Pipeline("release")
release.command("build", ["make"], retries=3)  # wrong: retries=3 -> retry=tidegate.Retry(attempts=3)
