"""Makes the page that a package index shows from README.md."""

import re
from pathlib import Path
from typing import Any

from hatchling.metadata.plugin.interface import MetadataHookInterface

_RELATIVE_LINK = re.compile(r"(?P<picture>!?)\[(?P<text>[^\]]*)\]\((?!https?:|#)(?P<path>[^)\s]+)\)")


class PackagePage(MetadataHookInterface):
    """Sets `readme` and `urls` according to the option `repository`, the public address of the repository on GitHub.

    On a package index, relative links lead nowhere and relative pictures are missing: they get this address. Without
    one, only their texts remain, and there are no project URLs.
    """

    def update(self, metadata: dict[str, Any]) -> None:
        """Set both fields of the project's metadata."""
        repository = self.config["repository"].rstrip("/")
        readme = Path(self.root, "README.md").read_text(encoding="utf-8")

        def absolute(link: re.Match[str]) -> str:
            if not repository:
                return link["text"]
            view = "raw" if link["picture"] else "blob"
            return f"{link['picture']}[{link['text']}]({repository}/{view}/HEAD/{link['path']})"

        metadata["readme"] = {"content-type": "text/markdown", "text": _RELATIVE_LINK.sub(absolute, readme)}
        metadata["urls"] = (
            {
                "Source": repository,
                "Documentation": f"{repository}/blob/HEAD/docs/README.md",
                "Changelog": f"{repository}/blob/HEAD/CHANGELOG.md",
                "Issues": f"{repository}/issues",
            }
            if repository
            else {}
        )
