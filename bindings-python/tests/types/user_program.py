"""A user's typed program: it must pass the strictest checks."""

from __future__ import annotations

import asyncio
import datetime
from dataclasses import dataclass
from typing import assert_type

import tidegate


@dataclass
class Image:
    digest: str


release = tidegate.Pipeline("release", max_parallel=4)
build = release.command("build", ["make"], timeout=datetime.timedelta(minutes=5), env={"TOKEN": tidegate.Secret("token")})
tag = release.shell("tag", "git describe", output="text", after=[build])
assert_type(build, tidegate.Step[None])
assert_type(tag, tidegate.Step[str])


@release.step(after=[build, "tag", (tag, "done")], retry=tidegate.Retry(attempts=3, initial="1s"))
def test(context: tidegate.Context) -> int:
    return context.attempt


@release.step(tag)
async def package(context: tidegate.Context, name: str) -> Image:
    await asyncio.sleep(0)
    return Image(name)


@release.step
def lone(context: tidegate.Context) -> list[str]:
    return []


def describe(context: tidegate.Context, image: Image, name: str) -> tidegate.Release:
    return tidegate.Release(name, ["serve", image.digest])


async def describe_later(context: tidegate.Context, image: Image, name: str, count: int, all: list[str]) -> bool:
    return bool(count and all)


described = release.step(describe, package, tag, once=True, version="2")
later = release.step(describe_later, package, tag, test, lone, name="later")
short = release.step(lambda context, image: image.digest, package, name="short")
assert_type(test, tidegate.Step[int])
assert_type(package, tidegate.Step[Image])
assert_type(lone, tidegate.Step[list[str]])
assert_type(described, tidegate.Step[tidegate.Release])
assert_type(later, tidegate.Step[bool])
assert_type(short, tidegate.Step[str])

serve = tidegate.Serve("127.0.0.1:8080", replicas=4, ready=tidegate.Check(tidegate.http("http://{host}:{port}/"), rise=2))
judge = tidegate.Sequential(alpha=0.01, form=tidegate.Absolute(0.001), blackout=False)
canary = tidegate.Canary("shop", serve=serve, steps=[5, 25, 50], bake="2m", judge=judge)
ship = release.rollout("ship", canary, release=described, deadline="1h")
release.rollout("again", tidegate.BlueGreen("shop", serve=serve), release=tidegate.Release("v1", ["serve"]))
release.revert("back", tidegate.Revert("shop"), after=[(ship, "failure")])


def program() -> None:
    with tidegate.Engine("release.db", durability="relaxed", secrets={"token": "x"}) as engine:
        outcome = engine.run(release, key="v1.4.2", params={"a": 1}).ok()
        assert_type(outcome.value(package), Image)
        assert_type(outcome.value(test), int)
        run = engine.start(release)
        for event in run:
            print(event["kind"])
        run.resolve(described, "done", tidegate.Release("v1", ["serve"]))
        run.promote(ship)
        service = engine.service("shop")
        if service is not None and engine.verify().is_sound:
            print(service.weights)
    try:
        outcome.ok()
    except tidegate.NeedsAnswer as error:
        print(error.help, error.faults, error.context)


async def async_program() -> None:
    async with tidegate.AsyncEngine("release.db") as engine:
        run = await engine.start(release, key="v1.4.2")
        async for event in run:
            print(event["kind"])
        assert_type((await run.outcome()).value(package), Image)


def probe() -> bool:
    return True


async def probe_later() -> tidegate.Result:
    return tidegate.Result("warn", "slow")


async def checks() -> None:
    for transition in tidegate.Check(probe, interval="1s", rise=2, fall=3).watch():
        assert_type(transition, tidegate.Transition)
    async with tidegate.Check(probe_later).watch() as watch:
        async for transition in watch:
            print(transition.to, watch.state)


def replays() -> None:
    windows = [tidegate.WindowRecord(tidegate.SideCounts(100, 3), tidegate.SideCounts(900, 0))]
    judged = tidegate.Sequential(safe=2).replay(windows, canary="v2", stable="v1")
    assert_type(judged, list[tidegate.Judged])
    assert_type(judged[0].so_far.canary, tidegate.SideCounts)
    process = tidegate.EProcess(law="betting", side="safe", margin=2, points=[0.1, 0.7])
    assert_type(process.replay(windows), list[float])
    standings = tidegate.Check(probe, fall=2).replay(["pass", tidegate.CheckRecord("fail", "status 503"), "fail"], seed=1)
    assert_type(standings[0].transitions, tuple[tidegate.Transition, ...])
    comparison = tidegate.Outliers(min_members=3).compare({"a": tidegate.Tally(100, 99)})
    assert_type(comparison, tidegate.Comparison | None)
