"""Several presets in one zip archive. What comes in as a zip is taken apart by the page, which
shows each preset and sends those that are wanted one by one."""

from __future__ import annotations

import io
import zipfile

from .fields import PresetError

MAX_ENTRIES = 1000
MAX_ZIP = 32 << 20
DAY = (1980, 1, 1, 0, 0, 0)  # equal presets, equal bytes


def parcel(files: dict[str, bytes]) -> bytes:
    """A zip archive of these files.

    Raises:
        PresetError: more than the page would take apart again.
    """
    if len(files) > MAX_ENTRIES or sum(map(len, files.values())) > MAX_ZIP:
        raise PresetError(f"An archive has at most {MAX_ENTRIES} presets and "
                          f"{MAX_ZIP >> 20} MiB. Choose fewer.")
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in files.items():
            archive.writestr(zipfile.ZipInfo(name, DAY), data, zipfile.ZIP_DEFLATED)
    return out.getvalue()
