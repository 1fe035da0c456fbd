"""A durable pipeline as a user's program would hold it: ``python program.py FOLDER`` prints the length of a greeting.

It runs once under its key, however often the program is started.
"""

import sys
from pathlib import Path

import tidegate
from tidegate import Context, Pipeline

folder = Path(sys.argv[1])
pipeline = Pipeline("greeting")
hello = pipeline.shell("hello", f"echo ran >> '{folder}/ran'; echo hello", output="text")


@pipeline.step(hello)
def length(context: Context, text: str) -> int:
    return len(text)


with tidegate.Engine(folder / "greeting.db") as engine:
    print(engine.run(pipeline, key="once").value(length))
