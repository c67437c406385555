"""In which order names change hands, so that no two entries ever have one name."""

from collections.abc import Iterator, Sequence

from core.schema.naming import fold
from core.schema.spec import Entry


def renames(present: Sequence[Entry], desired: Sequence[Entry]) -> Iterator[tuple[str, str, str]]:
    """Yield (id, old name, new name): all names differ after each, the kept ones are as desired after all.

    Where names are swapped, or one is wanted that an entry to be dropped still has, its holder first moves
    out of the way, to a name made of its id.
    """
    name_of: dict[str, str] = {entry.key: entry.name for entry in present}
    holder: dict[str, str] = {fold(entry.name): entry.key for entry in present}
    waiting: dict[str, str] = {
        entry.key: entry.name
        for entry in desired
        if entry.key in name_of and name_of[entry.key] != entry.name
    }

    def rename(key: str, name: str) -> tuple[str, str, str]:
        old = name_of[key]
        del holder[fold(old)]
        holder[fold(name)] = key
        name_of[key] = name
        return key, old, name

    while waiting:
        for key, name in waiting.items():
            if holder.get(fold(name), key) == key:
                break
        else:
            name = next(iter(waiting.values()))
            key = holder[fold(name)]
            yield rename(key, f"~{key}")
            continue
        del waiting[key]
        yield rename(key, name)
