"""A rollout is given a step that returns no release."""

import tidegate


def release_of(context: tidegate.Context) -> tidegate.Release:
    return tidegate.Release("v1", ["serve"])


release = tidegate.Pipeline("release")
named = release.command("name", ["git", "describe"], output="text")
built = release.step(release_of)
blue = tidegate.BlueGreen("shop", serve=tidegate.Serve("127.0.0.1:8080", replicas=1))
release.rollout("ship", blue, release=named)  # wrong: named -> built
