"""`make migration DB=control NAME="add a column"`: the two files of that database's next migration."""

import contextlib
import io
import sys
from pathlib import Path

from alembic import command
from alembic.script import ScriptDirectory

from db import migrate
from db.roles import DATABASES


def main() -> int:
    """Write NNNN_name.py and NNNN_name.sql after the newest revision, and say where they are."""
    if len(sys.argv) != 3 or sys.argv[1] not in DATABASES or not sys.argv[2].strip():
        print(f'usage: make migration DB={"|".join(DATABASES)} NAME="what it does"', file=sys.stderr)
        return 2
    database, name = sys.argv[1], sys.argv[2].strip()
    config = migrate.config(database)
    config.set_main_option("file_template", "%%(rev)s_%%(slug)s")
    head = ScriptDirectory.from_config(config).get_current_head()
    with contextlib.redirect_stdout(io.StringIO()):  # Alembic's own words, with absolute paths
        script = command.revision(config, message=name, rev_id=f"{int(head or 0) + 1:04d}")
    if script is None or isinstance(script, list):
        raise RuntimeError("Alembic wrote no single revision")
    sql = Path(script.path).with_suffix(".sql")
    sql.write_text(f"-- {name}\n")
    print(f"Wrote {script.path}\nWrite the statements into {sql}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
