"""``python -m sidecar``: the ``origin`` command."""

from sidecar.cli.main import main

if __name__ == "__main__":
    main()
