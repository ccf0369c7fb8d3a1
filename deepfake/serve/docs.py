"""The API's documentation as one page that loads nothing from anywhere, made of its OpenAPI schema."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

from deepfake.localisation.stream import Row
from deepfake.serve.problems import Problem
from deepfake.serve.schemas import StreamHeader

Schema = Mapping[str, Any]


def page(openapi: Schema) -> str:
    """An HTML page of a schema: its operations with parameters, answers and examples, then the objects in them."""
    from deepfake.figures.html import TEMPLATES  # matplotlib, for the first who asks

    objects = openapi["components"]["schemas"]
    return TEMPLATES.get_template("serve/docs.html").render(
        title=f"{openapi['info']['title']} {openapi['info']['version']}",
        description=openapi["info"]["description"],
        operations=list(_operations(openapi["paths"], objects)),
        objects={name: (one, _fields(one)) for name, one in objects.items() if not name.startswith("Body_")},
        header=_fields(StreamHeader.model_json_schema()),
        row=Row._fields,
        refusal=Problem("origin-not-allowed", "What is wrong with this request.").content("4f1c"),
        pretty=_pretty,
        provenance=None,
    )


def _operations(paths: Schema, objects: Schema) -> Iterator[dict[str, Any]]:
    """For each operation what the page says of it."""
    for path, operations in paths.items():
        for method, operation in operations.items():
            given = [
                (one["name"], f"in the {one['in']}", _kind(one["schema"]), one.get("description", ""))
                for one in operation.get("parameters", ())
            ]
            for form, content in operation.get("requestBody", {}).get("content", {}).items():
                body = objects[content["schema"]["$ref"].rpartition("/")[2]]
                given += [(name, form, kind, what) for name, kind, what in _fields(body)]
            yield {
                "method": method.upper(),
                "path": path,
                "description": operation["description"],
                "given": given,
                "answers": [_answer(*answer) for answer in operation["responses"].items()],
            }


def _answer(status: str, response: Schema) -> tuple[str, str, str, dict[str, Any]]:
    """Status, description, media types with what is in them, examples by name."""
    content = response.get("content", {})
    forms = ", ".join(
        f"{form} ({_kind(one['schema'])})" if one.get("schema") else form for form, one in content.items()
    )
    examples = {name: one["value"] for media in content.values() for name, one in media.get("examples", {}).items()}
    return status, response["description"], forms, examples


def _fields(schema: Schema) -> list[tuple[str, str, str]]:
    """Name, type and description of each property."""
    return [
        (name, _kind(one) + ("" if name in schema.get("required", ()) else ", optional"), one.get("description", ""))
        for name, one in schema.get("properties", {}).items()
    ]


def _kind(schema: Schema) -> str:
    """The type of a value in words."""
    if "$ref" in schema:
        return schema["$ref"].rpartition("/")[2]
    if "anyOf" in schema:
        return " or ".join(_kind(one) for one in schema["anyOf"])
    if "enum" in schema:
        return " or ".join(map(str, schema["enum"]))
    if schema.get("type") == "array":
        return f"list of {_kind(schema['items'])}" if schema.get("items") else "list"
    if schema.get("format") == "binary" or "contentMediaType" in schema:
        return "file"
    return str(schema.get("const", schema.get("title" if schema.get("title") == "Problem" else "type", "any value")))


def _pretty(value: Any) -> str:
    return json.dumps(value, indent=2, ensure_ascii=False)
