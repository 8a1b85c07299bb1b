"""Downloads: by pooch, with a checksum where one is published, a list of mirrors and an offline way."""

from __future__ import annotations

import hashlib
import os
import sys
from pathlib import Path

from chemscale_bench.data.cache import home, writing
from chemscale_bench.errors import UserError

TIMEOUT_SECONDS = 60


def fetch(file_name: str, urls: tuple[str, ...], sha256: str | None, otherwise: str) -> Path:
    """The file in the cache, downloaded from the first url that works unless it is there already.

    `CHEMSCALE_MIRROR` (a url that ends in a folder) is tried before the others.

    Args:
        file_name: its name in the cache.
        urls: where it can be had.
        sha256: its published checksum; None where there is none, then what arrives is trusted and its digest recorded.
        otherwise: what the user can do without it, for the error.

    Raises:
        UserError: no url gave the file, or its content is not the published one.
    """
    folder = home() / "downloads"
    file = folder / file_name
    if file.exists():
        if sha256 and file_sha256(file) != sha256:
            raise UserError(
                f"{file} must have the sha256 {sha256}, got {file_sha256(file)}; delete it to download it again"
            )
        return file
    mirror = os.environ.get("CHEMSCALE_MIRROR")
    tried = ((mirror.rstrip("/") + "/" + file_name,) if mirror else ()) + urls
    reasons = []
    with writing(folder):
        folder.mkdir(parents=True, exist_ok=True)
        for url in tried:
            reason = _download(url, file, sha256)
            if reason is None:
                if sha256 is None:
                    print(
                        f"{file_name} has no published checksum; what arrived has the sha256 {file_sha256(file)}",
                        file=sys.stderr,
                    )
                return file
            reasons.append(f"{url}: {reason}")
    raise UserError(
        f"{file_name} could not be downloaded ({'; '.join(reasons)}); check the network, or get the file "
        f"elsewhere and put it at {file}, or {otherwise}"
    )


def _download(url: str, file: Path, sha256: str | None) -> str | None:
    """Download to a temporary name and rename; the reason for a failure, in a few words."""
    import pooch
    import requests

    downloader = pooch.HTTPDownloader(progressbar=True, timeout=TIMEOUT_SECONDS)
    pooch.get_logger().setLevel("WARNING")
    known = f"sha256:{sha256}" if sha256 else None
    try:
        pooch.retrieve(url, known_hash=known, fname=file.name, path=file.parent, downloader=downloader)
    except requests.HTTPError as error:
        return f"the server answered {error.response.status_code if error.response is not None else error}"
    except requests.Timeout:
        return f"no answer in {TIMEOUT_SECONDS} s"
    except requests.exceptions.ChunkedEncodingError:
        return "the connection broke off"
    except requests.RequestException:
        return "no connection"
    except ValueError:
        return "what arrived is not the published file (its sha256 differs)"
    return None


def file_sha256(*files: Path) -> str:
    """The sha256 of files, one after another."""
    digest = hashlib.sha256()
    for file in files:
        with file.open("rb") as stream:
            while block := stream.read(1 << 20):
                digest.update(block)
    return digest.hexdigest()
