"""`python -m bench`: every topic in turn, or the one that is named, with its options."""

import sys

from bench import growth, isolation, layers, overload, records, tenants

TOPICS = {
    "records": records.main,
    "growth": growth.main,
    "tenants": tenants.main,
    "overload": overload.main,
    "isolation": isolation.main,
    "layers": layers.main,
}


def main() -> None:
    """Run the topic that the first argument names, or all."""
    words = sys.argv[1:]
    if words and words[0] in TOPICS:
        sys.argv = [f"bench {words[0]}", *words[1:]]
        TOPICS[words[0]]()
    elif words:
        raise SystemExit(f"no such topic: {words[0]}; there are {', '.join(TOPICS)}")
    else:
        for run in TOPICS.values():
            run()


if __name__ == "__main__":
    main()
