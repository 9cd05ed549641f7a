"""A template filled and put into a page that stands alone: its style, its script, and a policy for both."""

import base64
import hashlib
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ...results import printable
from ..figures import Figure, key_svg

if TYPE_CHECKING:
    from markupsafe import Markup

FOLDER = Path(__file__).parent


def page(package: str, template: str, **values: Any) -> str:
    """The text of the page. package: the room whose folder holds the template, which extends `page.html.j2`.

    Every value is escaped unless it is Markup; the page runs no other script than ours, named by its digest, and
    loads nothing.
    """
    from jinja2 import ChoiceLoader, Environment, PackageLoader, StrictUndefined
    from markupsafe import Markup

    loader = ChoiceLoader([PackageLoader(package, ""), PackageLoader("featune.bench.report.pages", "")])
    environment = Environment(loader=loader, autoescape=True, undefined=StrictUndefined, trim_blocks=True,
                              lstrip_blocks=True)  # fmt: skip
    environment.filters["breakable"] = printable if values.get("large") else breakable  # of thousands each counts
    environment.finalize = lambda value: value if isinstance(value, Markup) else printable(value)
    script = (FOLDER / "page.js").read_text(encoding="utf-8")
    policy = (
        f"default-src 'none'; script-src '{_digest(script)}'; style-src 'unsafe-inline'; img-src data:; "
        "base-uri 'none'; form-action 'none'"
    )
    style = Markup((FOLDER / "page.css").read_text(encoding="utf-8"))
    return environment.get_template(template).render(policy=policy, script=Markup(script), style=style, **values)


def _digest(script: str) -> str:
    """As a Content-Security-Policy names a script."""
    return "sha256-" + base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()


def breakable(name: str) -> "Markup":
    """The name, escaped, with places to break a line after its separators."""
    from markupsafe import Markup, escape

    return Markup(re.sub(r"([_./:\\-])(?=[^_./:\\-])", r"\1<wbr>", str(escape(printable(name)))))


def drawings(
    drawn: Sequence[tuple[Figure, Sequence[str]]],
    tables: Mapping[str, str] | None = None,
    of: Mapping[str, str] | None = None,
) -> list[dict[str, Any]]:
    """The figures as the templates take them, numbered from 1.

    tables: by task, the id of the table whose numbers its panel shows. of: by figure, that of all its panels. Others
    show those of the table `models`.
    """
    from markupsafe import Markup

    found = []
    for number, (one, panels) in enumerate(drawn, 1):
        usual = (of or {}).get(one.name, "models")
        known = [(tables or {}).get(printable(panel.task), usual) for panel in one.panels]
        found.append(
            {
                "name": one.name,
                "caption": one.caption,
                "number": number,
                "panels": [Markup(_linked(panel, table)) for panel, table in zip(panels, known, strict=True)],
                "keys": [
                    [(text, Markup(key_svg(colour, shape)) if shape else "") for text, colour, shape in key]
                    for key in one.keys
                ],
            }
        )
    return found


def _linked(panel: str, table: str) -> str:
    """The drawing, which the keyboard reaches where it has points of models."""
    reach = ' tabindex="0"' if "data-m=" in panel else ""
    return panel.replace("<svg ", f'<svg data-table="{table}"{reach} ', 1)
