"""Ready-made queries: files, directories, environment, commands, and the Python code graph.

Each module is imported by itself (`from engine.rules.files import read_text`); this one stays light.
They are written against the public face of the engine alone, so they double as examples for your own.
"""

if __name__ != "engine.rules":
    # The folder lies beside `engine/` and is linked into it. Imported as `rules`, every query would be
    # defined a second time under another name, and its memos would be those of another query.
    raise ImportError(f"import this package as engine.rules, not as {__name__}")
