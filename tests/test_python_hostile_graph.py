"""Hostile projects: every table has an answer, whatever files say of each other, and nothing runs forever."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from benchmarks.questions import TABLES
from engine import Engine
from engine.rules import python
from engine.rules.python.nodes import LONGEST

LONG = 1500

PROJECTS: dict[str, dict[str, str]] = {
    "re-exports in a circle": {
        "a.py": "from b import x, y as z\n", "b.py": "from a import x, z as y\n",
        "c.py": "from a import x\nx.y.z()\n",
    },
    "star imports in a circle, of themselves too": {
        "a.py": "from a import *\nfrom b import *\nf()\n", "b.py": "from a import *\nfrom . import *\nf()\n",
    },
    "classes that inherit in a circle": {
        "a.py": "import b\nclass A(b.B, A):\n    def f(self): self.x; super().y; self.__z\nA().q; A.r\n",
        "b.py": "import a\nclass B(a.A, a.A, B): ...\nclass A(A): ...\n",
    },
    "a class that cannot be ordered": {
        "a.py": "class X: ...\nclass Y: ...\nclass A(X, Y): ...\nclass B(Y, X): ...\nclass C(A, B, X, X):\n"
        "    def f(self): self.m()\n",
    },
    "variables that stand for each other": {
        "a.py": "import b\nx = y\ny = x\nz = b.z.q\nw = w()\nx.m(); z.m(); w.m()\nclass C(x, z.w, w): ...\n",
        "b.py": "import a\nz = a.z\n",
    },
    "a package that is its own submodule": {
        "p/__init__.py": "from . import p\nfrom .p import p as q\nimport p.p.p\np.p.p()\n",
        "p/p.py": "from p import p\n",
    },
    "one name for everything": {
        "a/__init__.py": "class a:\n    class a(a):\n        a = a\n"
        "        def a(self, a: a = a): self.a.a(); a.a\n",
        "a/a.py": "from a import a\na.a.a().a.a\n", "a/a/__init__.py": "from a.a import *\n",
    },
    "names that are no ASCII, and names of our own": {
        "ä.py": "def ß(): ...\nclass Ω:\n    def µ(self): self.µ()\n",
        "b.py": "import ä\nfrom ä import *\nä.ß(); Ω().µ()\n",
        "c.py": "__all__ = ['__all__', '*', 'x']\nx = 1\n", "d.py": "from c import *\nx.y\n",
        "we:ird.py": "def f(): f()\n", "with space.py": "x = 1\n",
    },
    "broken files among others": {
        "a.py": "from b import f\nf()\ndef g(:\n", "b.py": "def f(): ...\nclass\n",
        "c.py": "\0", "d.py": "import b, c, a\n",
    },
    "del, global, nonlocal, walrus, in odd places": {
        "a.py": "global x\ndel x\nclass C:\n    global y\n    y = 1\n    nonlocal z\n[w := 1 for a in b]\n"
        "def f(self=(v := 1)):\n    global f\n    del f\n    f.x()\n    self.x\nlambda: (yield)\n",
    },
    "methods without a first parameter": {
        "a.py": "class C:\n    def a(): self.b()\n    def c(*self): self.d()\n    def e(*, self): self.f()\n"
        "    g = lambda self: self.h()\n"
        "    def i(self, /): self.a()\n    def __new__(cls): super().__new__(cls)\n",
    },
    "super where it does not belong": {
        "a.py": "super().x()\ndef f(): super().y()\nclass C:\n    super().z\n"
        "    def m(self):\n        def g(): super().m()\n"
        "        [super().n for _ in self]\n    @super().d\n    def o(self, x=super().p): ...\n",
    },
    "a long chain of re-exports": {
        **{f"m{n}.py": f"from m{n + 1} import x\n" for n in range(300)}, "m300.py": "def x(): ...\n",
    },
    "a long line of classes": {
        **{f"m{n}.py": f"from m{n + 1} import C as B\nclass C(B): ...\n" for n in range(300)},
        "m300.py": "class C:\n    def m(self): ...\n", "app.py": "from m0 import C\nC().m()\n",
    },
    "a long chain of attributes and calls": {
        "a.py": f"import a\na{'.a' * LONG}()\na{'.a()' * 200}\n",
    },
    "a class of many bases and members": {
        "a.py": "".join(f"class B{n}:\n    def m{n}(self): self.m{n + 1}()\n" for n in range(200))
        + f"class C({', '.join(f'B{n}' for n in range(200))}): ...\n"
        + "".join(f"C().m{n}()\n" for n in range(200)),
    },
}  # fmt: skip


@pytest.mark.parametrize("name", PROJECTS)
def test_every_table_has_an_answer(name: str, tmp_path: Path) -> None:
    for path, text in PROJECTS[name].items():
        target = tmp_path / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(text)
    begin = time.thread_time()
    with Engine(None, root=tmp_path) as db:
        for table in TABLES.values():
            rows = db.get(table.where)
            assert db.get(table.failures) == ()
            assert len(rows) == len(set(rows))
        for row in db.get(python.definitions.where):
            for question in (python.callers, python.callees):
                db.get(question, row.symbol, 0)
            db.get(python.overrides, row.symbol)
            db.get(python.overridden, row.symbol)
            db.get(python.subclasses, row.symbol)
        db.get(python.affected, db.get(python.python_files))
        db.get(python.dead_definitions, True)
    assert time.thread_time() - begin < 60


def test_the_end_of_a_long_chain_is_found(tmp_path: Path) -> None:
    for number in range(LONG):
        (tmp_path / f"m{number}.py").write_text(f"from m{number + 1} import x\n")
    (tmp_path / f"m{LONG}.py").write_text("def x(): ...\n")
    with Engine(None, root=tmp_path) as db:
        (meaning,) = db.get(python.lookup, "m0.py", "x")
        assert (meaning.path, meaning.qualified) == (f"m{LONG}.py", "x")


@pytest.mark.parametrize(
    "text", ["x = {}", "@{}\ndef f(): ...", "class C({}): ...", "def f(x: {}): ...", "{}()"]
)
def test_a_name_of_more_attributes_than_anybody_writes_has_few_references(tmp_path: Path, text: str) -> None:
    """Each beginning of a name may refer to something: 2,000 attributes would give 2,000,000 parts."""
    (tmp_path / "a.py").write_text(text.format("a" + ".a" * 2_000))
    with Engine(None, root=tmp_path) as db:
        names = {row.name for row in db.get(python.references.where)}
        assert 1 <= len(names) <= 2 * LONGEST
        assert max(map(len, names)) <= len("a.") * (LONGEST + 1)


def test_the_method_of_a_distant_class_is_found(tmp_path: Path) -> None:
    for path, text in PROJECTS["a long line of classes"].items():
        (tmp_path / path).write_text(text)
    with Engine(None, root=tmp_path) as db:
        assert [one.symbol for one in db.get(python.callers, "m300.py:C.m")] == ["app.py:"]
        assert len(db.get(python.resolution_order, "m0.py:C").classes) == 301


@pytest.mark.parametrize("circle", [False, True])
def test_what_attributes_hold_does_not_depend_on_the_order_of_their_uses(
    tmp_path: Path, circle: bool
) -> None:
    """However many stand for each other, and where they do so in a circle."""
    last = "self.a50" if circle else "V()"
    text = ["class V:\n    def m(self): ...\nclass C:\n    def set(self):"]
    text += [f"        self.a{n} = self.a{n + 1}" for n in range(100)]
    answers = []
    for order in (range(101), range(100, -1, -1)):
        uses = [f"    def f{place:03}(self): self.a{n}.m()" for place, n in enumerate(order)]
        (tmp_path / "a.py").write_text("\n".join([*text, f"        self.a100 = {last}", *uses]))
        with Engine(None, root=tmp_path) as db:
            rows = [row for row in db.get(python.references.where) if row.name.endswith(".m")]
            answers.append({(row.name, row.outcome) for row in rows})
    assert answers[0] == answers[1]
    assert {outcome for _, outcome in answers[0]} == {"unresolved" if circle else "internal"}
