"""Handlers: what the walk does at a node of a class that opens a scope, binds a name or imports one.

A handler gets (survey, node, scope, stack, context). It pushes the children that belong to the same scope on
the stack, the first one last, and returns the context of what comes next, or None if that is the same.
`CHILDREN` serves all other classes.
"""

from __future__ import annotations

import ast
import sys
from typing import TYPE_CHECKING, Any

from engine.rules.python.nodes import dotted, is_all
from engine.rules.python.scopes import CLASS, COMPREHENSION, FUNCTION, MODULE, Scope

if TYPE_CHECKING:
    from engine.rules.python.survey import Survey

CONDITIONAL = "conditional"  # contexts of imports, see `facts.Import`
TYPING = "typing"


class Context:
    """On the stack: from here on the context is another one."""

    __slots__ = ("value",)

    def __init__(self, value: str) -> None:
        self.value = value


def _function(survey: Survey, node: Any, scope: Scope, stack: list[Any], context: str) -> None:
    scope.bound.add(node.name)
    qualified = scope.prefix + node.name
    kind = "method" if scope.kind is CLASS else "function"
    if node.__class__ is ast.AsyncFunctionDef:
        kind = f"async {kind}"
    survey.define(qualified, node.name, kind, node)
    outer, parameters_stack = survey.type_parameters(node, scope, context)
    parameters = _parameters(node.args, stack, stack if parameters_stack is None else parameters_stack)
    if scope.kind is CLASS:
        parameters.append("__class__")  # the cell that super() uses
    stack += node.decorator_list
    if node.returns is not None:
        (stack if parameters_stack is None else parameters_stack).append(node.returns)
    inside = context if context is TYPING else FUNCTION
    survey.open_scope(FUNCTION, outer, f"{qualified}.<locals>.", parameters, node.body[::-1], inside)


def _parameters(arguments: Any, defaults: list[Any], annotations: list[Any]) -> list[str]:
    """Names of the parameters; pushes their default values and annotations."""
    names = []
    several = arguments.args
    if arguments.posonlyargs:
        several = several + arguments.posonlyargs
    if arguments.kwonlyargs:
        several = several + arguments.kwonlyargs
    if arguments.vararg is not None:
        several = [*several, arguments.vararg]
    if arguments.kwarg is not None:
        several = [*several, arguments.kwarg]
    for argument in several:
        names.append(argument.arg)
        if argument.annotation is not None:
            annotations.append(argument.annotation)
    defaults += arguments.defaults
    for value in arguments.kw_defaults:
        if value is not None:
            defaults.append(value)
    return names


def _lambda(survey: Survey, node: Any, scope: Scope, stack: list[Any], context: str) -> None:
    parameters = _parameters(node.args, stack, stack)
    if scope.kind is CLASS:
        parameters.append("__class__")
    inside = context if context is TYPING else FUNCTION
    survey.open_scope(FUNCTION, scope, f"{scope.prefix}<lambda>.<locals>.", parameters, [node.body], inside)


def _class(survey: Survey, node: Any, scope: Scope, stack: list[Any], context: str) -> None:
    scope.bound.add(node.name)
    qualified = scope.prefix + node.name
    survey.define(qualified, node.name, "class", node)
    outer, parameters_stack = survey.type_parameters(node, scope, context)
    stack += node.decorator_list
    bases = stack if parameters_stack is None else parameters_stack
    bases += node.bases
    bases += [keyword.value for keyword in node.keywords]
    survey.open_scope(CLASS, outer, f"{qualified}.", (), node.body[::-1], context)


def _comprehension(survey: Survey, node: Any, scope: Scope, stack: list[Any], context: str) -> None:
    first, *more = node.generators
    stack.append(first.iter)  # the one part that is evaluated outside
    inside = [first.target, *first.ifs]
    for generator in more:
        inside += (generator.iter, generator.target, *generator.ifs)
    if node.__class__ is ast.DictComp:
        inside += (node.key, node.value) if node.value is not None else (node.key,)
    else:
        inside.append(node.elt)
    survey.open_scope(COMPREHENSION, scope, scope.prefix, (), inside, context)


def _named(survey: Survey, node: Any, scope: Scope, stack: list[Any], context: str) -> None:
    scope.owner.stores.setdefault(node.target.id, node.target)
    stack.append(node.value)


def _import(survey: Survey, node: Any, scope: Scope, stack: list[Any], context: str) -> None:
    for alias in node.names:
        scope.bound.add(alias.asname or alias.name.partition(".")[0])
        survey.imports.add((alias.name, None, alias.asname, 0, context))


def _import_from(survey: Survey, node: Any, scope: Scope, stack: list[Any], context: str) -> None:
    for alias in node.names:
        if alias.name != "*":
            scope.bound.add(alias.asname or alias.name)
        survey.imports.add((node.module or "", alias.name, alias.asname, node.level, context))


def _global(survey: Survey, node: Any, scope: Scope, stack: list[Any], context: str) -> None:
    if scope.kind is not MODULE:
        scope.globals.update(node.names)


def _nonlocal(survey: Survey, node: Any, scope: Scope, stack: list[Any], context: str) -> None:
    scope.nonlocals.update(node.names)


def _if(survey: Survey, node: Any, scope: Scope, stack: list[Any], context: str) -> str:
    test, negated = node.test, False
    if test.__class__ is ast.UnaryOp and test.op.__class__ is ast.Not:
        test, negated = test.operand, True
    typing = dotted(test).rpartition(".")[2] == "TYPE_CHECKING"
    usual = CONDITIONAL if context is MODULE else context
    body, other = TYPING if typing and not negated else usual, TYPING if typing and negated else usual
    stack.append(Context(context))
    if node.orelse:
        stack += node.orelse[::-1]
        stack.append(Context(other))
    stack += node.body[::-1]
    stack.append(node.test)
    return body


def _try(survey: Survey, node: Any, scope: Scope, stack: list[Any], context: str) -> str:
    stack.append(Context(context))
    stack += node.finalbody[::-1]
    stack += node.orelse[::-1]
    stack += node.handlers[::-1]
    stack += node.body[::-1]
    return CONDITIONAL if context is MODULE else context


def _handler(survey: Survey, node: Any, scope: Scope, stack: list[Any], context: str) -> None:
    if node.name is not None:
        scope.bound.add(node.name)
    stack += node.body[::-1]
    if node.type is not None:
        stack.append(node.type)


def _assign(survey: Survey, node: Any, scope: Scope, stack: list[Any], context: str) -> None:
    if scope.kind is MODULE and any(is_all(target) for target in node.targets):
        survey.exports.assign(node.value)
    stack.append(node.value)
    stack += node.targets


def _annotated(survey: Survey, node: Any, scope: Scope, stack: list[Any], context: str) -> None:
    if scope.kind is MODULE and is_all(node.target) and node.value is not None:
        survey.exports.assign(node.value)
    stack.append(node.annotation)
    if node.value is not None:
        stack.append(node.value)
    if node.simple or node.value is not None or node.target.__class__ is not ast.Name:
        stack.append(node.target)  # but `(x): int` binds nothing


def _augmented(survey: Survey, node: Any, scope: Scope, stack: list[Any], context: str) -> None:
    if scope.kind is MODULE and is_all(node.target):
        survey.exports.add(node.value)
    if node.target.__class__ is ast.Name:
        scope.names.add(node.target.id)  # `x += 1` reads x as well
    stack += (node.value, node.target)


def _expression(survey: Survey, node: Any, scope: Scope, stack: list[Any], context: str) -> None:
    call = node.value
    if scope.kind is MODULE and call.__class__ is ast.Call:
        method = call.func
        if method.__class__ is ast.Attribute and is_all(method.value):
            survey.exports.call(method.attr, call.args)
    stack.append(call)


def _type_alias(survey: Survey, node: Any, scope: Scope, stack: list[Any], context: str) -> None:
    name = node.name.id
    scope.bound.add(name)
    if scope.kind is MODULE or scope.kind is CLASS:
        survey.define(scope.prefix + name, name, "type", node)
    outer, inner_stack = survey.type_parameters(node, scope, context)
    if inner_stack is None:
        survey.open_scope(FUNCTION, outer, scope.prefix, (), [node.value], context)
    else:
        inner_stack.append(node.value)


def _capture(survey: Survey, node: Any, scope: Scope, stack: list[Any], context: str) -> None:
    """`case [first, *rest] as whole` and `case {**rest}` bind names without a Name node."""
    name = node.rest if node.__class__ is ast.MatchMapping else node.name
    if name is not None:
        scope.bound.add(name)
    stack.extend(child for child in ast.iter_child_nodes(node))


HANDLERS: dict[type, Any] = {
    ast.FunctionDef: _function,
    ast.AsyncFunctionDef: _function,
    ast.Lambda: _lambda,
    ast.ClassDef: _class,
    ast.ListComp: _comprehension,
    ast.SetComp: _comprehension,
    ast.DictComp: _comprehension,
    ast.GeneratorExp: _comprehension,
    ast.NamedExpr: _named,
    ast.Import: _import,
    ast.ImportFrom: _import_from,
    ast.Global: _global,
    ast.Nonlocal: _nonlocal,
    ast.If: _if,
    ast.Try: _try,
    ast.TryStar: _try,
    ast.ExceptHandler: _handler,
    ast.Assign: _assign,
    ast.AnnAssign: _annotated,
    ast.AugAssign: _augmented,
    ast.Expr: _expression,
    ast.MatchAs: _capture,
    ast.MatchStar: _capture,
    ast.MatchMapping: _capture,
}
if sys.version_info >= (3, 12):
    HANDLERS[ast.TypeAlias] = _type_alias

# Fields that hold no nodes worth a look: names, flags, operators.
_LEAVES = frozenset(
    [
        "arg",
        "asname",
        "attr",
        "conversion",
        "ctx",
        "id",
        "is_async",
        "kind",
        "kwd_attrs",
        "level",
        "name",
        "names",
        "op",
        "ops",
        "rest",
        "simple",
        "str",
        "tag",
        "type_comment",
        "type_ignores",
    ]
)


def _children_table() -> dict[type, tuple[str, ...]]:
    """Per class of nodes, the fields that hold its children, last first."""
    table: dict[type, tuple[str, ...]] = {}
    for kind in vars(ast).values():
        if isinstance(kind, type) and issubclass(kind, ast.AST) and kind not in HANDLERS:
            table[kind] = tuple(name for name in reversed(kind._fields) if name not in _LEAVES)
    table[ast.Constant] = ()
    table[type(None)] = ()  # in lists with holes: the key of `**rest` in a dict
    return table


CHILDREN = _children_table()
