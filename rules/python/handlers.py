"""Handlers: what the walk does at a node of a class that opens a scope, binds a name or imports one.

A handler gets (survey, node, scope, stack, context). It pushes the children that belong to the same scope on
the stack, the first one last, and returns the context of what comes next, or None if that is the same.
`CHILDREN` serves all other classes.
"""

from __future__ import annotations

import ast
import sys
from typing import TYPE_CHECKING, Any

from engine.rules.python.annotations import declared, is_none, quoted
from engine.rules.python.attributes import hold, hold_declared
from engine.rules.python.certain import is_doubtful
from engine.rules.python.children import children_table
from engine.rules.python.nodes import chain, for_typing, is_all, is_lazy
from engine.rules.python.patterns import capture, of_class
from engine.rules.python.requests import TOLD, request, tell
from engine.rules.python.scopes import CLASS, COMPREHENSION, FUNCTION, HEAD, MODULE, TYPES, Scope, taken_over
from engine.rules.python.uses import BASE, DECORATOR, IMPORT, MARK

if TYPE_CHECKING:
    from engine.rules.python.survey import Survey

CONDITIONAL = "conditional"  # contexts of imports, see `facts.Import`
TYPING, LAZY = "typing", "lazy"


class Context:
    """On the stack: from here on the context is another one."""

    __slots__ = ("value",)

    def __init__(self, value: str) -> None:
        self.value = value


def _function(survey: Survey, node: Any, scope: Scope, stack: list[Any], context: str) -> None:
    ahead = taken_over(scope, node.name)
    place = _binds(scope, node.name)
    qualified = f"{place}.{node.name}" if place else node.name
    kind = "method" if scope.kind is CLASS else "function"
    if node.__class__ is ast.AsyncFunctionDef:
        kind = f"async {kind}"
    found = survey.define(qualified, node.name, kind, node)
    outer, annotations = survey.type_parameters(node, scope, context, found, ahead)
    head: list[Any] = []
    values: dict[str, str] = {}
    parameters = _parameters(node.args, head, head if annotations is None else annotations, values)
    receiver = None
    if scope.kind is CLASS:
        if (node.args.posonlyargs or node.args.args) and not _is_static(node):
            receiver = parameters[0]
        parameters.append("__class__")  # the cell that super() uses
    if node.returns is not None:
        (head if annotations is None else annotations).extend([node.returns, *quoted(node.returns)])
    if head or node.decorator_list:
        around = survey.open_scope(HEAD, scope, scope.prefix, (), head, context, found)
        around.ahead = ahead
        _mark(survey, around, node.decorator_list, head, DECORATOR)
    inside = context if context is TYPING else FUNCTION
    prefix = f"{qualified}.<locals>."
    inner = survey.open_scope(FUNCTION, outer, prefix, parameters, node.body[::-1], inside, found)
    inner.receiver = receiver
    inner.values = values
    inner.ahead = ahead
    if node.decorator_list or node.name.startswith("test"):
        request(survey, inner, node)


def _is_static(node: Any) -> bool:
    return any(each.__class__ is ast.Name and each.id == "staticmethod" for each in node.decorator_list)


def _mark(survey: Survey, scope: Scope, nodes: list[Any], stack: list[Any], usage: str) -> None:
    """Note what the nodes name as uses of a certain sort, and leave the rest of them on the stack."""
    for node in nodes:
        if node.__class__ is ast.Call:
            stack += [*node.args, *[keyword.value for keyword in node.keywords]]
            node = node.func
        elif node.__class__ is ast.Subscript and usage is BASE:
            stack.append(node.slice)
            node = node.value
        name = chain(node)
        if name:
            survey.marked.append((scope, name, usage))
        else:
            stack.append(node)


def _parameters(
    arguments: Any, defaults: list[Any], annotations: list[Any], values: dict[str, str]
) -> list[str]:
    """Names of the parameters; pushes their default values and annotations, and notes what these say."""
    names = []
    several = arguments.args
    if arguments.posonlyargs:
        several = arguments.posonlyargs + several
    if arguments.kwonlyargs:
        several = several + arguments.kwonlyargs
    for argument in several:
        names.append(argument.arg)
        annotation = argument.annotation
        if annotation is not None:
            annotations.append(annotation)
            annotations += quoted(annotation)
            of_class = declared(annotation)
            if of_class:
                values[argument.arg] = of_class + MARK
    for argument in (arguments.vararg, arguments.kwarg):
        if argument is not None:
            names.append(argument.arg)
            if argument.annotation is not None:
                annotations.append(argument.annotation)
                annotations += quoted(argument.annotation)
    defaults += arguments.defaults
    for value in arguments.kw_defaults:
        if value is not None:
            defaults.append(value)
    return names


def _lambda(survey: Survey, node: Any, scope: Scope, stack: list[Any], context: str) -> None:
    parameters = _parameters(node.args, stack, stack, {})
    if scope.kind is CLASS:
        parameters.append("__class__")
    inside = context if context is TYPING else FUNCTION
    survey.open_scope(FUNCTION, scope, f"{scope.prefix}<lambda>.<locals>.", parameters, [node.body], inside)


def _class(survey: Survey, node: Any, scope: Scope, stack: list[Any], context: str) -> None:
    ahead = taken_over(scope, node.name)
    place = _binds(scope, node.name)
    qualified = f"{place}.{node.name}" if place else node.name
    found = survey.define(qualified, node.name, "class", node)
    outer, bases = survey.type_parameters(node, scope, context, found, ahead)
    if node.decorator_list or node.bases or node.keywords:
        head: list[Any] = []
        around = survey.open_scope(HEAD, scope, scope.prefix, (), head, context, found)
        around.ahead = ahead
        _mark(survey, around, node.decorator_list, head, DECORATOR)
        if bases is not None:
            around, head = outer, bases
        _mark(survey, around, node.bases, head, BASE)
        head += [keyword.value for keyword in node.keywords]
    inner = survey.open_scope(CLASS, outer, f"{qualified}.", (), node.body[::-1], context, found)
    if is_doubtful(node.body):
        survey.doubtful.append((inner, node.body))
    if node.decorator_list:
        request(survey, inner, node)


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
    stores, name = scope.binder.stores, node.target.id
    if name in stores:
        scope.binder.again.add(name)
    else:
        stores[name] = node.target
    stack.append(node.value)


def _import(survey: Survey, node: Any, scope: Scope, stack: list[Any], context: str) -> None:
    context = LAZY if is_lazy(node) and context is not TYPING else context
    for alias in node.names:
        bound = alias.asname or alias.name.partition(".")[0]
        survey.marked.append((scope, alias.asname or alias.name, IMPORT))
        survey.imports.add((alias.name, None, alias.asname, 0, context, _binds(scope, bound)))


def _import_from(survey: Survey, node: Any, scope: Scope, stack: list[Any], context: str) -> None:
    context = LAZY if is_lazy(node) and context is not TYPING else context
    for alias in node.names:
        place = scope.prefix.rstrip(".")
        if alias.name != "*":
            bound = alias.asname or alias.name
            place = _binds(scope, bound)
            survey.marked.append((scope, bound, IMPORT))
        survey.imports.add((node.module or "", alias.name, alias.asname, node.level, context, place))


def _binds(scope: Scope, name: str) -> str:
    """Note that an import or a definition binds a name; the qualified name of the scope in which it does."""
    scope.bound.add(name)
    if name in scope.globals:
        return ""
    scope.places.add(name)
    return scope.prefix.rstrip(".")


def _global(survey: Survey, node: Any, scope: Scope, stack: list[Any], context: str) -> None:
    if scope.kind is not MODULE:
        scope.globals.update(node.names)


def _nonlocal(survey: Survey, node: Any, scope: Scope, stack: list[Any], context: str) -> None:
    scope.nonlocals.update(node.names)


def _if(survey: Survey, node: Any, scope: Scope, stack: list[Any], context: str) -> str:
    typing = for_typing(node.test)
    usual = CONDITIONAL if context is MODULE else context
    body, other = TYPING if typing else usual, TYPING if typing is False else usual
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
        scope.again.add(node.name)
    stack += node.body[::-1]
    if node.type is not None:
        stack.append(node.type)


def _assign(survey: Survey, node: Any, scope: Scope, stack: list[Any], context: str) -> None:
    if scope.kind is MODULE and any(is_all(target) for target in node.targets):
        survey.exports.assign(node.value)
    first = node.targets[0]
    if first.__class__ is ast.Name and first.id in TOLD:
        tell(survey, scope, first.id, node.value)
    if scope.kind is not CLASS or not survey.reads_ahead(first, [node.value], scope, context):
        stack.append(node.value)
    for target in node.targets:
        if not hold(scope, target, node.value):
            stack.append(target)
            if target.__class__ is ast.Name:
                scope.note_value(target.id, chain(node.value))
                if is_none(node.value):
                    scope.empty.add(target.id)


def _annotated(survey: Survey, node: Any, scope: Scope, stack: list[Any], context: str) -> None:
    if scope.kind is MODULE and is_all(node.target) and node.value is not None:
        survey.exports.assign(node.value)
    if node.target.__class__ is ast.Name and node.target.id in TOLD and node.value is not None:
        tell(survey, scope, node.target.id, node.value)
    nodes = [node.annotation, *quoted(node.annotation)]
    if node.value is not None:
        nodes.append(node.value)
    if scope.kind is not CLASS or not survey.reads_ahead(node.target, nodes, scope, context):
        stack += nodes
    if hold_declared(scope, node.target, node.annotation):
        return
    if node.simple or node.value is not None or node.target.__class__ is not ast.Name:
        stack.append(node.target)  # but `(x): int` binds nothing
        of_class = declared(node.annotation)
        if of_class and node.target.__class__ is ast.Name:
            scope.declared.add(node.target.id)
            scope.note_value(node.target.id, of_class + MARK)


def _augmented(survey: Survey, node: Any, scope: Scope, stack: list[Any], context: str) -> None:
    if scope.kind is MODULE and is_all(node.target):
        survey.exports.add(node.value)
    if node.target.__class__ is ast.Name:
        scope.names.add(node.target.id)  # `x += 1` reads x as well
        if node.target.id in TOLD:
            tell(survey, scope, node.target.id, node.value)
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
    found = scope.owner
    if scope.kind is MODULE or scope.kind is CLASS:
        found = survey.define(scope.prefix + name, name, "type", node)
    outer, inner_stack = survey.type_parameters(node, scope, context, found)
    if inner_stack is None:
        survey.open_scope(TYPES, outer, scope.prefix, (), [node.value], context, found)
    else:
        inner_stack.append(node.value)


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
    ast.MatchAs: capture,
    ast.MatchStar: capture,
    ast.MatchMapping: capture,
    ast.MatchClass: of_class,
}
if sys.version_info >= (3, 12):
    HANDLERS[ast.TypeAlias] = _type_alias

CHILDREN = children_table(HANDLERS)
