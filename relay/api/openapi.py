"""The OpenAPI 3.1 document, made from the operations and types that validate.

Pure.
"""

import re
from collections.abc import Iterable, Sequence
from types import UnionType
from typing import Any, get_args

import msgspec

from relay.api.operations import Operation, Response
from relay.api.problems import ProblemDocument
from relay.errors import PROBLEMS

ANYWHERE = ("NOT_AUTHENTICATED", "TOO_MANY_REQUESTS")  # a wrong key is refused even where none is needed
REF = "#/components/schemas/{name}"
ERROR_HEADERS = {"X-Request-Id": {"schema": {"type": "string"}, "description": "Names this request in logs."}}


def openapi(operations: Iterable[Operation], title: str, version: str, description: str) -> dict[str, Any]:
    """Return the document of all operations that are not hidden."""
    shown = [operation for operation in operations if not operation.hidden]
    types = list(_types(shown))
    # Alternatives are translated one by one: msgspec takes no union of Structs without tags.
    members = list({_type_key(one): one for kind in types for one in _alternatives(kind)}.values())
    (_, *schemas), components = msgspec.json.schema_components([ProblemDocument, *members], ref_template=REF)
    by_member = {_type_key(kind): schema for kind, schema in zip(members, schemas, strict=True)}
    by_type = {_type_key(kind): _either([by_member[_type_key(one)] for one in _alternatives(kind)]) for kind in types}
    paths: dict[str, dict[str, Any]] = {}
    for operation in shown:
        for alias, path in enumerate((operation.path, *operation.aliases)):
            paths.setdefault(path, {})[operation.method.lower()] = _operation(operation, by_type, alias)
    return {
        "openapi": "3.1.0",
        "info": {"title": title, "version": version, "description": description, "license": {"name": "MIT"}},
        "paths": dict(sorted(paths.items())),
        "tags": [{"name": tag} for tag in dict.fromkeys(operation.tag for operation in shown if operation.tag)],
        "components": {
            "schemas": {name: _with_decimals(schema) for name, schema in sorted(components.items())},
            "securitySchemes": {
                "key": {"type": "http", "scheme": "bearer", "description": "An API key: `fs_live_…`."},
                **_secret_headers(shown),
            },
        },
    }


def _with_decimals(schema: Any) -> Any:
    """Return a schema that says of exact decimals what decoding takes: a number, or the same as a text."""
    if isinstance(schema, list):
        return [_with_decimals(one) for one in schema]
    if not isinstance(schema, dict):
        return schema
    found = {name: _with_decimals(value) for name, value in schema.items()}
    return {**found, "type": ["number", "string"]} if found.get("format") == "decimal" else found


def _operation(operation: Operation, schemas: dict[str, Any], alias: int) -> dict[str, Any]:
    declared: dict[str, Any] = {
        "operationId": _operation_id(operation) + (f"Alias{alias}" if alias else ""),
        "summary": operation.summary,
        "parameters": [*_path_parameters(operation), *_query_parameters(operation), *_header_parameters(operation)],
        "responses": _responses(operation, schemas),
        "security": [{}, {"key": []}] if operation.roles is None or operation.guests else [{"key": []}],
    }
    if operation.secret_header is not None:
        declared["security"].append({operation.secret_header.decode(): []})
    notes = [operation.description]
    if operation.roles is not None:
        without = " Games may allow to call it without a key." if operation.guests else ""
        notes.append(f"Takes a key with one of the roles: {', '.join(sorted(operation.roles))}.{without}")
    if alias:
        notes.append(f"The same as `{operation.path}`.")
    if text := " ".join(note for note in notes if note):
        declared["description"] = text
    if operation.tag:
        declared["tags"] = [operation.tag]
    if operation.request is not None:
        content = {"application/json": {"schema": schemas[_type_key(operation.request)]}}
        declared["requestBody"] = {"required": True, "content": content}
    return declared


def _secret_headers(operations: Sequence[Operation]) -> dict[str, Any]:
    named = {operation.secret_header.decode() for operation in operations if operation.secret_header is not None}
    text = "A server key: `fs_live_sk_…`."
    return {name: {"type": "apiKey", "in": "header", "name": name, "description": text} for name in sorted(named)}


def _responses(operation: Operation, schemas: dict[str, Any]) -> dict[str, Any]:
    responses: dict[str, Any] = {}
    for status, declared in sorted(operation.responses.items()):
        response = declared if isinstance(declared, Response) else Response(declared)
        entry: dict[str, Any] = {"description": response.description or _meaning(status)}
        if response.type is not None:
            entry["content"] = {response.media_type: {"schema": schemas[_type_key(response.type)]}}
        elif response.media_type != "application/json":
            entry["content"] = {response.media_type: {"schema": {"type": "string"}}}
        responses[str(status)] = entry
    errors: dict[int, list[str]] = {}
    for code in dict.fromkeys((*operation.errors, *ANYWHERE)):
        errors.setdefault(PROBLEMS[code].status, []).append(code)
    for status, codes in sorted(errors.items()):
        responses[str(status)] = _problem(", ".join(f"`{code}`" for code in codes))
    responses["default"] = _problem("Any other error.")
    return responses


def _problem(description: str) -> dict[str, Any]:
    schema = {"$ref": REF.format(name=ProblemDocument.__name__)}
    return {
        "description": description,
        "headers": ERROR_HEADERS,
        "content": {"application/problem+json": {"schema": schema}},
    }


def _path_parameters(operation: Operation) -> list[dict[str, Any]]:
    return [
        {
            "name": name,
            "in": "path",
            "required": True,
            "description": operation.parameters.get(name, ""),
            "schema": {"type": "string"},
        }
        for name in re.findall(r"\{(\w+)\}", operation.path)
    ]


def _query_parameters(operation: Operation) -> list[dict[str, Any]]:
    if operation.query is None:
        return []
    (_,), components = msgspec.json.schema_components([operation.query], ref_template=REF)
    properties: dict[str, Any] = components[operation.query.__name__]["properties"]
    parameters = []
    for name, declared in properties.items():
        schema = dict(declared)
        described = schema.pop("description", None)
        options = [option for option in schema.get("anyOf", ()) if option != {"type": "null"}]
        if len(options) == 1:  # absent, not null: a query has no null
            schema = options[0]
            described = schema.pop("description", described)
        elif "enum" in schema:
            schema = {**schema, "enum": [value for value in schema["enum"] if value is not None]}
        if schema.get("default", 0) is None:
            schema.pop("default")
        entry = {"name": name, "in": "query", "required": False, "schema": schema}
        parameters.append(entry | ({"description": described} if described else {}))
    return parameters


def _header_parameters(operation: Operation) -> list[dict[str, Any]]:
    return [
        {"name": name, "in": "header", "required": False, "description": text, "schema": {"type": "string"}}
        for name, text in operation.request_headers.items()
    ]


def _types(operations: Sequence[Operation]) -> Iterable[Any]:
    seen: set[str] = set()
    for operation in operations:
        declared = [operation.request]
        declared += [r.type if isinstance(r, Response) else r for r in operation.responses.values()]
        for kind in declared:
            if kind is not None and _type_key(kind) not in seen:
                seen.add(_type_key(kind))
                yield kind


def _alternatives(kind: Any) -> tuple[Any, ...]:
    return get_args(kind) if isinstance(kind, UnionType) else (kind,)


def _either(schemas: list[dict[str, Any]]) -> dict[str, Any]:
    return schemas[0] if len(schemas) == 1 else {"oneOf": schemas}


def _type_key(kind: Any) -> str:
    return f"{getattr(kind, '__module__', '')}.{kind!r}"


def _operation_id(operation: Operation) -> str:
    if operation.operation_id:
        return operation.operation_id
    words = [word for word in re.split(r"[^A-Za-z0-9]+", operation.path) if word and word != "api"]
    return operation.method.lower() + "".join(word[0].upper() + word[1:] for word in words)


def _meaning(status: int) -> str:
    return {200: "The answer.", 201: "Created.", 202: "Accepted.", 204: "Done.", 304: "Not changed."}.get(status, "")
