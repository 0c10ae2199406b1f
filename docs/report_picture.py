"""Makes the picture of a report's first page: `python docs/report_picture.py e1`. It needs Chromium."""

import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

PICTURE = Path(__file__).parent / "screens" / "report.png"
SIZE = "1200,1162"
MOST = 200_000
"""Bytes of the picture at most."""


def main(report_id: str) -> int:
    """Write the report of an experiment in the history, and save what a browser shows of it first."""
    browser = shutil.which("chromium") or shutil.which("google-chrome")
    if browser is None:
        print("Chromium is not installed.")
        return 2
    with tempfile.TemporaryDirectory() as folder:
        page, picture = Path(folder) / "report.html", Path(folder) / "report.png"
        program = Path(sys.executable).with_name("paragone")
        subprocess.run([program, "report", report_id, "--to", page], check=True)
        options = ["--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars"]
        subprocess.run(
            [browser, *options, f"--window-size={SIZE}", f"--screenshot={picture}", page.as_uri()],
            check=True,
            capture_output=True,
        )
        size = picture.stat().st_size
        if size > MOST:
            print(f"The picture has {size:,} bytes, more than {MOST:,}.")
            return 1
        shutil.copyfile(picture, PICTURE)
    print(f"{PICTURE}: {size / 1000:.0f} kB")
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
