"""Code: the fingerprint of a query's own code, which is an input of it like any other.

`fingerprint` is what the rest of the engine asks; the others are what it asks: `walk` goes from a function to
what it can reach, `reach` and `names` say what a code object names and what that stands for now, `value`
makes bytes of it.
"""
