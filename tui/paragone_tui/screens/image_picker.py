"""The image picker: attaches an image to the prompt, chosen from folders or by its path."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from pathlib import Path

from textual.content import Content
from textual.widgets.option_list import Option

from paragone import Image, InputError
from paragone.wording import size_text
from paragone_tui.terminal.text import one_line
from paragone_tui.widgets.picker import Picker
from paragone_workbench.conversation.images import SUFFIXES, image_size, read_image

_SHOWN = 200


class ImagePicker(Picker[tuple[Image, ...] | None]):
    """Its result is the new attachments of the prompt, or None to leave them unchanged."""

    heading = "Image"
    placeholder = "Path of a PNG, JPEG, WebP or GIF file"

    def __init__(self, images: tuple[Image, ...]) -> None:
        super().__init__()
        self._images = images
        self._paths: dict[str, str] = {}

    def fitting(self, text: str) -> Sequence[Option]:
        """Return folders and images whose path begins with the text; if it is empty, attachments first."""
        options = [] if text else [*self._attached()]
        self._paths = {}
        folder, _, begun = text.rpartition("/")
        start = f"{folder}/" if "/" in text else ""
        try:
            for name in _fitting_names(Path(start or ".").expanduser(), begun.casefold()):
                self._paths[str(len(self._paths))] = start + name
        except (OSError, RuntimeError, ValueError) as error:
            reason = getattr(error, "strerror", None) or error
            self.say(f"{start or 'This folder'} cannot be listed: {reason}.")
            return options
        for number, path in list(self._paths.items())[:_SHOWN]:
            options.append(Option(Content(one_line(path)), id=number))
        if text and not self._paths:
            self._paths["written"] = text
            options.append(Option(Content.assemble(("Take ", "bold"), one_line(text)), id="written"))
        self.say("" if options else "No images and no folders here.")
        return options

    def pick(self, option_id: str) -> None:
        """Open a folder, or close the picker with the image added or removed."""
        if option_id.startswith("drop-"):
            number = int(option_id.removeprefix("drop-"))
            self.dismiss((*self._images[:number], *self._images[number + 1 :]))
            return
        path = self._paths[option_id]
        if path.endswith("/"):
            self.words.value = path
            self.words.action_end()
            return
        try:
            self.dismiss((*self._images, read_image(Path(path))))
        except InputError as error:
            self.say(str(error))

    def _attached(self) -> Iterator[Option]:
        for number, image in enumerate(self._images):
            said = f"{one_line(image.name)}, {size_text(image_size(image))}"
            yield Option(Content.assemble(("Take back ", "bold"), said), id=f"drop-{number}")


def _fitting_names(folder: Path, begun: str) -> list[str]:
    """Return the names of images and subfolders that begin with `begun`, which is case-folded.

    Names of folders end with a slash. Raises OSError if the folder cannot be listed.
    """
    names = []
    with os.scandir(folder) as entries:
        for entry in entries:
            name = entry.name.casefold()
            if not name.startswith(begun) or (name.startswith(".") and not begun):
                continue
            if _is_folder(entry):
                names.append(f"{entry.name}/")
            elif name.endswith(SUFFIXES):
                names.append(entry.name)
    return sorted(names, key=str.casefold)


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a link to itself, or into a folder without permission
        return False
