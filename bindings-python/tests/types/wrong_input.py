"""A step is given the value of a step of another type. The marked line is the one mistake."""

from tidegate import Context, Pipeline

p = Pipeline("p")


def size(context: Context) -> int:
    return 3


def shout(context: Context, text: str) -> str:
    return text.upper()


def name(context: Context) -> str:
    return "shop"


number = p.step(size)
text = p.step(name)
loud = p.step(shout, number)  # MISTAKE: number -> text
