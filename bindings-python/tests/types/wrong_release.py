"""A rollout is given a step that makes no release. The marked line is the one mistake."""

from tidegate import Canary, Context, Pipeline, Release, Serve

p = Pipeline("p")
build = p.command("build", ["make"])


@p.step(after=[build])
def package(context: Context) -> Release:
    return Release("v1", ["./shop"])


canary = Canary("shop", steps=[10], bake="1m", serve=Serve("127.0.0.1:0", replicas=1))
p.rollout("ship", canary, release=build)  # MISTAKE: release=build -> release=package
