"""Let `python -m strixfleet` be the command."""

from strixfleet.cli import main


if __name__ == "__main__":
    main()
