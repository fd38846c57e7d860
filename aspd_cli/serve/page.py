"""The page at `/`: a chat whose branches grow side by side.

Three files of the package. The style begins with the colours of the reports' pages.
"""

from starlette.requests import Request
from starlette.responses import FileResponse, Response
from starlette.routing import Route

from aspd_cli.files import ASSETS
from aspd_cli.report.html import colour_rules
from aspd_cli.report.lane_colours import PAGE

_FILES = ASSETS / "chat"
_FRESH = {"Cache-Control": "no-cache"}


def page_routes() -> list[Route]:
    """The routes of the page: it, its script and its style."""
    return [Route("/", _page), Route("/page.js", _script), Route("/page.css", _style)]


async def _page(request: Request) -> Response:
    return FileResponse(_FILES / "page.html", headers=_FRESH)


async def _script(request: Request) -> Response:
    return FileResponse(_FILES / "page.js", headers=_FRESH, media_type="text/javascript")


async def _style(request: Request) -> Response:
    sheet = (_FILES / "page.css").read_text(encoding="utf-8")
    return Response(f"{colour_rules()}\n{_lanes()}{sheet}", headers=_FRESH, media_type="text/css")


def _lanes() -> str:
    """Which colour a branch has: by its place in its block."""
    return "".join(
        f".branch:nth-child({len(PAGE)}n+{at}){{--lane:var(--{name})}}\n"
        for at, name in enumerate(PAGE, start=1)
    )
