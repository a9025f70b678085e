"""The command ``labkit``; it lives in `labkit.app.cli`."""

from labkit.app.cli import app

__all__ = ["app"]

if __name__ == "__main__":
    app()
