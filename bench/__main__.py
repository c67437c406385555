"""`python -m bench`: every topic."""

from bench import records

if __name__ == "__main__":
    records.main()
