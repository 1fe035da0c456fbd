"""What the shop answers: no socket in sight."""

import json
import sys
import traceback
from typing import Any

# Names and prices in cents.
ITEMS = {"coffee": 790, "tea": 450, "cocoa": 620}

# Percent off, by customer segment. The bug of version 3 is that the last three are missing.
SEGMENTS = 100
DISCOUNTS = [5] * SEGMENTS

Answer = tuple[int, dict[str, Any]]


def segment(visit: int) -> int:
    """Spreads visits over the segments: Knuth's multiplicative hash, folded."""
    hashed = visit * 2654435761 % 2**32
    return (hashed ^ hashed >> 16) % SEGMENTS


def order(body: bytes) -> Answer:
    try:
        wanted = json.loads(body)
    except ValueError:
        return 400, {"error": "the body is not JSON"}
    item = wanted.get("item") if isinstance(wanted, dict) else None
    if not isinstance(item, str) or item not in ITEMS:
        return 422, {"error": "no such item"}
    quantity = wanted.get("quantity")
    if type(quantity) is not int or not 1 <= quantity <= 100:
        return 422, {"error": "quantity must be a whole number from 1 to 100"}
    return 201, {"item": item, "quantity": quantity, "total": quantity * ITEMS[item]}


class Shop:
    """One version of the shop."""

    def __init__(self, version: str) -> None:
        self.version = version
        number = version.lstrip("v").split(".")[0]
        self.major = int(number) if number.isdecimal() else 0
        self.visits = 0

    def answer(self, method: str, path: str, body: bytes) -> Answer:
        """Answers one request whose body is complete."""
        path = path.partition("?")[0]
        match method, path:
            case "GET", "/healthz":
                return 200, {"status": "ok"}
            case "GET", "/":
                status, answer = 200, {"shop": "hot drinks", "version": self.version, "items": len(ITEMS)}
            case "GET", "/items":
                status, answer = 200, {"items": [{"item": item, "price": price} for item, price in ITEMS.items()]}
            case "POST", "/orders":
                status, answer = order(body)
            case _, "/" | "/items" | "/orders" | "/healthz":
                return 405, {"error": "method not allowed"}
            case _:
                return 404, {"error": "not found"}
        if status < 300:
            try:
                self.extras(answer)
            except Exception:
                print(f"shop: {method} {path}: {traceback.format_exc(limit=-1)}", file=sys.stderr)
                return 500, {"error": "internal error"}
        return status, answer

    def extras(self, answer: dict[str, Any]) -> None:
        """What later versions add to an answer."""
        self.visits += 1
        if self.major >= 2:
            answer["featured"] = list(ITEMS)[self.visits % len(ITEMS)]
        if self.major >= 3:
            discounts = DISCOUNTS[:-3] if self.major == 3 else DISCOUNTS
            answer["discount_percent"] = discounts[segment(self.visits)]
