"""A spreadsheet: cells are inputs, values are queries, and a circle of cells is an error with its path."""

from __future__ import annotations

import re

from engine import CycleError, Engine, Event, What, input, query

REFERENCE = re.compile(r"[A-Z]+[0-9]+")


@input
def formula(cell: str) -> str:
    """What was typed into a cell: numbers, names of cells, and + between them."""
    return "0"


@query
def value(cell: str) -> int:
    terms = (term.strip() for term in formula(cell).split("+"))
    return sum(value(term) if REFERENCE.fullmatch(term) else int(term) for term in terms)


@query
def is_large(cell: str) -> bool:
    return value(cell) > 100


def tell(event: Event) -> None:
    if event.what in (What.EXECUTED, What.CUT_OFF, What.FAILED):
        print(f"    {event.what.value:8} {str(event.key).rpartition(':')[2]}")


def main() -> None:
    with Engine(None) as db:
        db.listen(tell)
        with db.batch():  # many cells, one revision
            db.set(formula.key("A1"), "20")
            db.set(formula.key("A2"), "22")
            db.set(formula.key("A3"), "A1 + A2")
            db.set(formula.key("B1"), "A3 + 100")
        print("B1 is", db.get(value, "B1"), "- large:", db.get(is_large, "B1"))

        print("A1 becomes 21: what is made of it runs, and `is_large` is cut off")
        db.set(formula.key("A1"), "21")
        print("B1 is", db.get(value, "B1"), "- large:", db.get(is_large, "B1"))

        print("A1 becomes 10 + 11: an equal value, and the change ends at A1")
        db.set(formula.key("A1"), "10 + 11")
        print("B1 is", db.get(value, "B1"))

        print("A1 becomes B1: a circle")
        db.set(formula.key("A1"), "B1")
        try:
            db.get(value, "B1")
        except CycleError as error:
            print(error)

        print("A1 becomes 1: repaired")
        db.set(formula.key("A1"), "1")
        print("B1 is", db.get(value, "B1"))


if __name__ == "__main__":
    main()
