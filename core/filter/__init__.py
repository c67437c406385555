"""Filters: one tree, a compact spelling that fits a URL, and a spelling in JSON."""

from core.filter.compact import check_timezone, parse
from core.filter.dates import Relative
from core.filter.json import read, spelled
from core.filter.tree import (
    All,
    Any,
    Compare,
    Filter,
    Linked,
    Not,
    Quantifier,
    canonical,
    is_relative,
    resolved,
)

__all__ = [
    "All",
    "Any",
    "Compare",
    "Filter",
    "Linked",
    "Not",
    "Quantifier",
    "Relative",
    "canonical",
    "check_timezone",
    "is_relative",
    "parse",
    "read",
    "resolved",
    "spelled",
]
