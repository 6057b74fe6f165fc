"""Languages that definitions are read from, by file name; and which nodes of their syntax trees are definitions."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

_JAVASCRIPT = (
    "function_declaration",
    "generator_function_declaration",
    "class_declaration",
    "method_definition",
    "variable_declarator",
)
_TYPESCRIPT = (
    *_JAVASCRIPT,
    "abstract_class_declaration",
    "interface_declaration",
    "type_alias_declaration",
    "enum_declaration",
    "internal_module",
)
_C = (
    "function_definition",
    "struct_specifier",
    "enum_specifier",
    "union_specifier",
    "type_definition",
    "preproc_function_def",
)

#: Language, as the parser calls it, to the kinds of nodes that define something. The parser dies on other names.
DEFINITIONS: Final[Mapping[str, tuple[str, ...]]] = MappingProxyType(
    {
        "python": ("function_definition", "class_definition"),
        "javascript": _JAVASCRIPT,
        "typescript": _TYPESCRIPT,
        "tsx": _TYPESCRIPT,
        "go": ("function_declaration", "method_declaration", "type_spec", "const_spec", "var_spec"),
        "rust": (
            "function_item",
            "struct_item",
            "enum_item",
            "union_item",
            "trait_item",
            "impl_item",
            "mod_item",
            "type_item",
            "const_item",
            "static_item",
            "macro_definition",
        ),
        "java": (
            "class_declaration",
            "interface_declaration",
            "enum_declaration",
            "record_declaration",
            "annotation_type_declaration",
            "method_declaration",
            "constructor_declaration",
        ),
        "c": _C,
        "cpp": (*_C, "class_specifier", "namespace_definition", "alias_declaration"),
        "csharp": (
            "class_declaration",
            "interface_declaration",
            "struct_declaration",
            "enum_declaration",
            "record_declaration",
            "method_declaration",
            "constructor_declaration",
            "property_declaration",
            "delegate_declaration",
        ),
        "ruby": ("method", "singleton_method", "class", "module"),
        "php": (
            "function_definition",
            "method_declaration",
            "class_declaration",
            "interface_declaration",
            "trait_declaration",
            "enum_declaration",
        ),
        "kotlin": ("class_declaration", "object_declaration", "function_declaration"),
        "swift": ("class_declaration", "protocol_declaration", "function_declaration", "init_declaration"),
        "scala": ("class_definition", "object_definition", "trait_definition", "function_definition"),
        "bash": ("function_definition",),
        "lua": ("function_declaration",),
    }
)

_ENDINGS: Final[Mapping[str, str]] = MappingProxyType(
    {
        "py": "python",
        "pyi": "python",
        "js": "javascript",
        "mjs": "javascript",
        "cjs": "javascript",
        "jsx": "javascript",
        "ts": "typescript",
        "mts": "typescript",
        "cts": "typescript",
        "tsx": "tsx",
        "go": "go",
        "rs": "rust",
        "java": "java",
        "c": "c",
        "h": "cpp",
        "cc": "cpp",
        "cpp": "cpp",
        "cxx": "cpp",
        "hh": "cpp",
        "hpp": "cpp",
        "hxx": "cpp",
        "cs": "csharp",
        "rb": "ruby",
        "rake": "ruby",
        "php": "php",
        "kt": "kotlin",
        "kts": "kotlin",
        "swift": "swift",
        "scala": "scala",
        "sc": "scala",
        "sh": "bash",
        "bash": "bash",
        "lua": "lua",
    }
)


def language_of(path: bytes) -> str:
    """Return the language of a file, by its name; empty for one that definitions are not read from."""
    _, dot, ending = path.rpartition(b"/")[2].rpartition(b".")
    return _ENDINGS.get(ending.decode("utf-8", "replace").lower(), "") if dot else ""
