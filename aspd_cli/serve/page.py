"""The page at `/`: a chat whose branches grow side by side; three files of the package."""

from starlette.responses import FileResponse, Response
from starlette.routing import Route

from aspd_cli.files import ASSETS

_PAGE = ASSETS / "chat"


def page_routes() -> list[Route]:
    """The routes of the page: it, its script and its style."""
    return [Route(path, _file(name)) for path, name in _FILES.items()]


_FILES = {"/": "page.html", "/page.js": "page.js", "/page.css": "page.css"}


def _file(name: str):  # type: ignore[no-untyped-def]
    async def give(request: object) -> Response:
        return FileResponse(_PAGE / name, headers={"Cache-Control": "no-cache"})

    return give
