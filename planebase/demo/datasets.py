"""Public data sets as records: the files of vega-datasets, which is never imported (it wants pandas)."""

import csv
import json
from dataclasses import dataclass, field
from datetime import datetime
from importlib.util import find_spec
from pathlib import Path
from typing import Any

Row = dict[str, Any]


@dataclass(frozen=True)
class TableData:
    """One table: its spec as the portal sends it, and its records' fields."""

    name: str
    fields: list[dict[str, Any]]
    rows: list[dict[str, Any]]
    views: list[dict[str, Any]] = field(default_factory=list)

    @property
    def spec(self) -> dict[str, Any]:
        """The table's part of a base's spec."""
        return {"name": self.name, "fields": self.fields, "views": self.views}


def airports() -> TableData:
    """3,376 airports of the United States (Bureau of Transportation Statistics)."""
    rows: list[Row] = [
        {
            "Code": row["iata"],
            "Name": row["name"],
            "City": row["city"],
            "State": row["state"],
            "Country": row["country"],
            "Latitude": float(row["latitude"]),
            "Longitude": float(row["longitude"]),
        }
        for row in _csv("airports.csv")
    ]
    fields: list[Row] = [
        {"name": "Code", "type": "text", "required": True, "unique": True},
        {"name": "Name", "type": "text", "required": True},
        {"name": "City", "type": "text"},
        {"name": "State", "type": "text"},
        {"name": "Country", "type": "text"},
        {"name": "Latitude", "type": "number", "options": {"precision": 12, "scale": 8}},
        {"name": "Longitude", "type": "number", "options": {"precision": 12, "scale": 8}},
        {"name": "Runways checked", "type": "boolean"},
        {"name": "Website", "type": "url"},
        {"name": "Notes", "type": "long_text"},
    ]
    return TableData("Airports", fields, rows, [{"name": "All", "kind": "grid", "definition": {}}])


def weather() -> TableData:
    """1,461 days of weather in Seattle (NOAA)."""
    rows: list[Row] = [
        {
            "Day": row["date"].replace("/", "-"),
            "Observed at": f"{row['date'].replace('/', '-')}T12:00:00+00:00",
            "Precipitation": float(row["precipitation"]),
            "Warmest": float(row["temp_max"]),
            "Coldest": float(row["temp_min"]),
            "Wind": float(row["wind"]),
            "Weather": row["weather"],
            "Tags": [
                tag
                for tag, on in (("wet", float(row["precipitation"]) > 0), ("windy", float(row["wind"]) > 5))
                if on
            ],
        }
        for row in _csv("seattle-weather.csv")
    ]
    kinds = sorted({row["Weather"] for row in rows})
    decimal = {"precision": 8, "scale": 2}
    fields: list[Row] = [
        {"name": "Day", "type": "date", "required": True, "unique": True},
        {"name": "Observed at", "type": "datetime"},
        {"name": "Precipitation", "type": "number", "options": decimal},
        {"name": "Warmest", "type": "number", "options": decimal},
        {"name": "Coldest", "type": "number", "options": decimal},
        {"name": "Wind", "type": "number", "options": decimal},
        {
            "name": "Weather",
            "type": "single_select",
            "options": {"choices": [{"name": kind} for kind in kinds]},
        },
        {
            "name": "Tags",
            "type": "multi_select",
            "options": {"choices": [{"name": "wet"}, {"name": "windy"}]},
        },
        {"name": "Observer", "type": "email"},
    ]
    return TableData("Weather", fields, rows)


def cars() -> TableData:
    """406 cars of the years 1970 to 1982 (Ramos and Donoho, ASA Data Exposition 1983)."""
    rows: list[Row] = [
        {
            "Name": row["Name"],
            "Miles per gallon": row["Miles_per_Gallon"],
            "Cylinders": row["Cylinders"],
            "Horsepower": row["Horsepower"],
            "Weight (lbs)": row["Weight_in_lbs"],
            "Year": row["Year"],
            "Origin": row["Origin"],
            "Source": row,
        }
        for row in json.loads(_file("cars.json").read_text())
    ]
    fields: list[Row] = [
        {"name": "Name", "type": "text", "required": True},
        {"name": "Miles per gallon", "type": "number", "options": {"precision": 8, "scale": 2}},
        {"name": "Cylinders", "type": "integer"},
        {"name": "Horsepower", "type": "integer"},
        {"name": "Weight (lbs)", "type": "integer"},
        {"name": "Year", "type": "date"},
        {
            "name": "Origin",
            "type": "single_select",
            "options": {"choices": [{"name": name} for name in ("Europe", "Japan", "USA")]},
        },
        {"name": "Source", "type": "json"},
    ]
    return TableData("Cars", fields, rows)


def _csv(name: str) -> list[dict[str, str]]:
    with _file(name).open(newline="") as lines:
        return list(csv.DictReader(lines))


def _file(name: str) -> Path:
    found = find_spec("vega_datasets")
    if found is None or found.origin is None:
        raise RuntimeError("the package vega-datasets is not installed: run `make demo`, which installs it")
    return Path(found.origin).parent / "_data" / name


def today() -> str:
    """The date of a run, for names that people read."""
    return datetime.now().astimezone().date().isoformat()
