"""Hello: one input, two queries, and a change that stops half way."""

from engine import Engine, input, query


@input
def name() -> str:
    return "World"


@query
def polite() -> str:
    print("  (polite runs)")
    return name().strip().title()


@query
def greeting() -> str:
    print("  (greeting runs)")
    return f"Hello, {polite()}!"


with Engine(None) as db:
    print(db.get(greeting))
    db.set(name.key(), "ada")
    print(db.get(greeting))
    db.set(name.key(), "  ADA ")  # another input, but `polite` comes to an equal value: `greeting` rests
    print(db.get(greeting))
