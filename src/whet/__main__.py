"""``python -m whet`` is ``whet``."""


def main() -> None:
    """Run the command line."""
    from whet.cli.app import main as run

    run()


if __name__ == "__main__":
    main()
