"""`python -m lanser_cli` is `lanser`."""

from lanser_cli.app import run

if __name__ == "__main__":
    run()
