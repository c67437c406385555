"""`python -m api.control`: the private Control API."""

from api.control.app import create_app
from api.serve import serve
from core.settings import ControlApiSettings


def main() -> None:
    """Serve until a signal comes."""
    settings = ControlApiSettings()
    serve(
        create_app(settings),
        "control_api",
        settings.control_host,
        settings.control_port,
        settings.metrics_port,
    )


if __name__ == "__main__":
    main()
