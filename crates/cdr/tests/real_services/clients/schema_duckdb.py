"""Makes a table by SQL, and copies a CSV file into it.

    schema_duckdb.py SQL CSV TABLE
"""

import sys

import duckdb

sql, csv, table = sys.argv[1:]
connection = duckdb.connect()
with open(sql) as file:
    connection.execute(file.read())
connection.execute(f"COPY {table} FROM '{csv}' (FORMAT csv, HEADER)")
rows, kind = connection.execute(f"SELECT count(*), min(typeof(msisdn)) FROM {table}").fetchone()
print(f"{rows} rows, msisdn {kind}")
