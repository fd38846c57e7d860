"""`python -m aspd_cli`: the same as `aspd`."""

from aspd_cli.cli.main import main

if __name__ == "__main__":
    main()
