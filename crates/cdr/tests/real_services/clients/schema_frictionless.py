"""Reads a CSV file by a Table Schema; then the same file with a tower that is no number.

    schema_frictionless.py SCHEMA CSV STREAM
"""

import sys

from frictionless import Resource, Schema, system

path = sys.argv[2]


def resource(path):
    return Resource(path=path, schema=Schema.from_descriptor(sys.argv[1]))


with system.use_context(trusted=True):
    report = resource(path).validate()
    assert report.valid, report.flatten(["rowNumber", "fieldName", "message"])[:3]
    rows = resource(path).read_rows()
    with open(path) as file:
        lines = file.read().splitlines(keepends=True)
    fields = lines[7].split(",")
    lines[7] = ",".join([fields[0], "a tower", *fields[2:]])
    changed = f"{path}.changed.csv"
    with open(changed, "w") as file:
        file.writelines(lines)
    errors = resource(changed).validate().flatten(["rowNumber", "fieldName"])
    assert errors == [[8, "tower_id"]], errors
print(f"{len(rows)} rows, msisdn {type(rows[0]['msisdn']).__name__}, a changed file is refused")
