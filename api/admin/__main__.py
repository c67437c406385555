"""`python -m api.admin`: the operators' Admin API."""

from api.admin.app import create_app
from api.serve import serve
from core.settings import AdminApiSettings


def main() -> None:
    """Serve until a signal comes."""
    settings = AdminApiSettings()
    serve(create_app(settings), "admin_api", settings.admin_host, settings.admin_port, settings.metrics_port)


if __name__ == "__main__":
    main()
