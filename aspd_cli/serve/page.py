"""The page at `/`: a chat whose branches grow side by side.

Files of the package: a page, scripts that are modules, and a style, which begins with the colours
of the reports' pages.
"""

from functools import partial

from starlette.requests import Request
from starlette.responses import FileResponse, Response
from starlette.routing import Route

from aspd_cli.files import ASSETS
from aspd_cli.report.html import colour_rules
from aspd_cli.report.lane_colours import PAGE

_FILES = ASSETS / "chat"
_SCRIPTS = ("page.js", "lanes.js", "server.js")
PATHS = ("/", *(f"/{name}" for name in _SCRIPTS), "/page.css")
"""What is served to a browser that has no key yet."""
_FRESH = {"Cache-Control": "no-cache"}


def page_routes() -> list[Route]:
    """The routes of the page: it, its scripts and its style."""
    scripts = [Route(f"/{name}", partial(_script, name)) for name in _SCRIPTS]
    return [Route("/", _page), *scripts, Route("/page.css", _style)]


async def _page(request: Request) -> Response:
    return FileResponse(_FILES / "page.html", headers=_FRESH)


async def _script(name: str, request: Request) -> Response:
    return FileResponse(_FILES / name, headers=_FRESH, media_type="text/javascript")


async def _style(request: Request) -> Response:
    sheet = (_FILES / "page.css").read_text(encoding="utf-8")
    return Response(f"{colour_rules()}\n{_lanes()}{sheet}", headers=_FRESH, media_type="text/css")


def _lanes() -> str:
    """Which colour a branch has: by its place in its block."""
    return "".join(
        f".branch:nth-child({len(PAGE)}n+{at}){{--lane:var(--{name})}}\n"
        for at, name in enumerate(PAGE, start=1)
    )
