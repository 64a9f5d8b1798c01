"""The description of a version for search engines and loaders: `croissant.json`, after Croissant 1.0 (JSON-LD). Pure."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import pyarrow as pa  # type: ignore[import-untyped]

from convoforge.publish.card import pretty_name
from convoforge.publish.manifest import Manifest
from convoforge.publish.rows import SCHEMA

NAME = "croissant.json"

_CONTEXT: Mapping[str, Any] = {
    "@language": "en",
    "@vocab": "https://schema.org/",
    "citeAs": "cr:citeAs",
    "column": "cr:column",
    "conformsTo": "dct:conformsTo",
    "cr": "http://mlcommons.org/croissant/",
    "rai": "http://mlcommons.org/croissant/RAI/",
    "data": {"@id": "cr:data", "@type": "@json"},
    "dataType": {"@id": "cr:dataType", "@type": "@vocab"},
    "dct": "http://purl.org/dc/terms/",
    "equivalentProperty": "cr:equivalentProperty",
    "examples": {"@id": "cr:examples", "@type": "@json"},
    "extract": "cr:extract",
    "field": "cr:field",
    "fileProperty": "cr:fileProperty",
    "fileObject": "cr:fileObject",
    "fileSet": "cr:fileSet",
    "format": "cr:format",
    "includes": "cr:includes",
    "isLiveDataset": "cr:isLiveDataset",
    "jsonPath": "cr:jsonPath",
    "key": "cr:key",
    "md5": "cr:md5",
    "parentField": "cr:parentField",
    "path": "cr:path",
    "recordSet": "cr:recordSet",
    "references": "cr:references",
    "regex": "cr:regex",
    "repeated": "cr:repeated",
    "replace": "cr:replace",
    "samplingRate": "cr:samplingRate",
    "sc": "https://schema.org/",
    "separator": "cr:separator",
    "source": "cr:source",
    "subField": "cr:subField",
    "transform": "cr:transform",
}
"""As the specification has it: a reader compares it."""

_TYPES = (
    (pa.types.is_string, "sc:Text"),
    (pa.types.is_integer, "sc:Integer"),
    (pa.types.is_boolean, "sc:Boolean"),
    (pa.types.is_decimal, "sc:Float"),
    (pa.types.is_timestamp, "sc:DateTime"),
)


def render(manifest: Manifest) -> str:
    """The whole description: each split is a set of files, and a set of records with a field for each column."""
    warning = ": not to be trained on" if manifest.provider == "simulator" else ""
    described = {
        "@context": _CONTEXT,
        "@type": "sc:Dataset",
        "conformsTo": "http://mlcommons.org/croissant/1.0",
        "name": manifest.config_name,
        "alternateName": pretty_name(manifest),
        "description": f"{manifest.rows:,} synthetic conversations, {manifest.authorship} {manifest.lineage.model}{warning}.",
        "version": f"{manifest.version}.0.0",
        "datePublished": f"{manifest.created_at:%Y-%m-%d}",
        "inLanguage": [*manifest.recipe.languages],
        **({"license": manifest.recipe.license} if manifest.recipe.license else {}),
        "distribution": [
            {
                "@type": "cr:FileSet",
                "@id": f"files-{split}",
                "encodingFormat": "application/x-parquet",
                "includes": f"data/{split}-*.parquet",
            }
            for split in manifest.splits
        ],
        "recordSet": [
            {
                "@type": "cr:RecordSet",
                "@id": split,
                "name": split,
                "key": {"@id": f"{split}/conversation_id"},
                "field": [_field(column.name, column.type, split, column.name) for column in SCHEMA],
            }
            for split in manifest.splits
        ],
    }
    return json.dumps(described, indent=1, ensure_ascii=False) + "\n"


def _field(name: str, kind: Any, split: str, column: str, path: str | None = None) -> dict[str, Any]:
    """A column, or at `path` a part of one."""
    field = {"@type": "cr:Field", "@id": f"{split}/{column}{f'/{path}' if path else ''}", "name": name}
    repeated = {"repeated": True} if pa.types.is_list(kind) else {}
    value = kind.value_type if repeated else kind
    if pa.types.is_struct(value):
        return {**field, **repeated, "subField": [_field(part.name, part.type, split, column, part.name) for part in value]}
    at = {"transform": {"jsonPath": path}} if path else {}
    source = {"fileSet": {"@id": f"files-{split}"}, "extract": {"column": column}, **at}
    return {**field, **repeated, "dataType": next(name for is_, name in _TYPES if is_(value)), "source": source}
