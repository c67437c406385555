"""`python -m api.data`: the public Data API."""

from api.data.app import create_app
from api.serve import serve
from core.settings import DataApiSettings


def main() -> None:
    """Serve until a signal comes."""
    settings = DataApiSettings()
    serve(create_app(settings), "data_api", settings.data_host, settings.data_port, settings.metrics_port)


if __name__ == "__main__":
    main()
