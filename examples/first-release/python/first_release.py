"""Builds, tests and ships one version of the shop: ``python first_release.py v2``, from the repository's root.

Run it again after a crash and it goes on where it was. It exits with 0 when the version was promoted and with 3 when it
was rolled back. ``FOLDER`` is where it keeps its journal and what it builds, ``LISTEN`` where the shop is served.
"""

import os
import sys
from pathlib import Path
from shlex import quote

import tidegate
from tidegate import Canary, Context, Pipeline, Release, Sequential, Serve

SERVICE = Path("examples/first-release/service/python")


def main() -> int:
    if len(sys.argv) != 2:
        print("usage: first_release.py VERSION", file=sys.stderr)
        return 2
    version = sys.argv[1]
    folder = Path(os.environ.get("FOLDER", "target/first-release")).absolute()
    folder.mkdir(parents=True, exist_ok=True)
    pipeline = define(version, folder, os.environ.get("LISTEN", "127.0.0.1:8080"))

    with tidegate.Engine(folder / "release.db") as engine:
        engine.run(pipeline, key=version, show=True)
        shop = engine.service("shop")
    last = shop.last if shop else None
    if last is None or last.version != version:
        return 1
    return {"promoted": 0, "rolled_back": 3}.get(last.outcome, 1)


def define(version: str, folder: Path, listen: str) -> Pipeline:
    pipeline = Pipeline("first-release")
    notes = folder / "steps.txt"
    shop = folder / version

    # Each step notes when it begins and ends, so that the demo can count without asking the engine.
    def noted(step: str, script: str) -> str:
        note = f"echo {step} {version} {{}} >> {quote(str(notes))}"
        return f"{note.format('begins')}\n{script}\n{note.format('ends')}"

    python = quote(sys.executable)
    script = f"{python} {SERVICE}/build.py --version {version} --out {quote(str(shop))}"
    build = pipeline.shell("build", noted("build", script))
    test = pipeline.shell("test", noted("test", f"cd {SERVICE} && {python} -m unittest -q"), after=[build])

    @pipeline.step(after=[test])
    def release(context: Context) -> Release:
        """What is to be shipped: a version's name and the program to start."""
        with notes.open("a") as file:
            print(f"release {version} begins", file=file, flush=True)
            main = (shop / "main.py").resolve(strict=True)
            print(f"release {version} ends", file=file, flush=True)
        return Release(version, [sys.executable, str(main)])

    pipeline.rollout("ship", rollout(listen), release=release)
    return pipeline


def rollout(listen: str) -> Canary:
    """Four processes behind the proxy. A fifth of the traffic goes to the new version, then half of it, each for 12 s.

    The judge looks every second (``window``), counts errors of one second as one piece of evidence (``burst``), and
    condemns a version that is no worse with a chance of at most 1 % (``alpha``). A version may pass only if 3 % of errors
    would have been found: 30 times (``detect``) the 0.1 % (``base_rate``) that is normal. At 300 requests a second that
    takes 8 s of a fifth of them; the first second of a process (``warmup``) is not counted.
    """
    judge = Sequential(
        alpha=0.01, window="1s", burst="1s", warmup="1s", detect=30, base_rate=0.001, inconclusive="roll_back"
    )
    serve = Serve(listen, replicas=4, drain="5s")
    return Canary("shop", steps=[20, 50], bake="12s", serve=serve, judge=judge, keep_old="1s")


if __name__ == "__main__":
    sys.exit(main())
