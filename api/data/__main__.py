"""`python -m api.data`: the public Data API."""

from api.data.app import DataApi
from api.serve import serve
from core.settings import DataApiSettings


def main() -> None:
    """Serve until a signal comes."""
    settings = DataApiSettings()
    app = DataApi(settings)
    where = (settings.data_host, settings.data_port, settings.metrics_port)
    serve(app, "data_api", *where, drain=app.watches.drain)


if __name__ == "__main__":
    main()
