"""What CI runs on a pull request, with the base branch's code: see leaderboard/verify-pull-request."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path

from chemscale_bench.errors import UserError
from chemscale_bench.leaderboard import files
from chemscale_bench.leaderboard.collect import read_entries
from chemscale_bench.leaderboard.levels import Level

ENTRIES = "leaderboard/entries/"
PLAIN_FILE = "100644"
MOST_FILE_BYTES = max(files.MOST_CURVE_BYTES, files.MOST_CHECKPOINT_BYTES)


def git(*arguments: str) -> bytes:
    """Output of a git command."""
    return subprocess.run(["git", *arguments], capture_output=True, check=True).stdout


def check(base: str, head: str) -> list[str]:
    """Verify what `head` changes below leaderboard/entries against `base`, two commits.

    Returns:
        A line for every entry that is added or changed.

    Raises:
        UserError: naming the first that is not consistent, or a change that an entry may not make.
    """
    changed = [line.split("\t", 1) for line in _lines(git("diff", "--name-status", "--no-renames", "-z", base, head))]
    ours = [(status, name) for status, name in changed if name.startswith(ENTRIES)]
    if not ours:
        return []
    if len(ours) < len(changed):
        other = next(name for _, name in changed if not name.startswith(ENTRIES))
        raise UserError(f"a pull request with entries must change nothing else, got {files.shown(other)}; split it")
    with tempfile.TemporaryDirectory() as temporary:
        root = Path(temporary)
        for line in _lines(git("ls-tree", "-r", "-l", "-z", head, "--", ENTRIES)):
            about, name = line.split("\t", 1)
            mode, _, blob, size = about.split()
            write(root, name, mode, blob, size)
        touched = {entry_of(name) for _, name in ours}
        before = [line.split("\t", 1)[1] for line in _lines(git("ls-tree", "-r", "-z", base, "--", ENTRIES))]
        established = {name.removeprefix(ENTRIES) for name in before if entry_of(name) not in touched}
        studies, refused = read_entries(root / ENTRIES, Level.CONSISTENT, established)
        for refusal in refused:
            if refusal.name.removesuffix(".json") in touched:
                raise UserError(f"{files.shown(refusal.name)} is refused: {refusal.reason}")
        lines = []
        for study in studies:
            if study.name.removesuffix(".json") in touched:
                if study.level < Level.CONSISTENT:
                    raise UserError(f"{study.name} must be consistent, it is {study.level.word}: {study.why_not_next}")
                touched.discard(study.name.removesuffix(".json"))
                lines.append(f"{study.name} is {study.level.word}")
    gone = {entry_of(name) for status, name in ours if status == "D"}
    for stem in sorted(touched - gone):
        raise UserError(f"files of an entry must come with its .json, got none for {files.shown(stem)}; add it")
    return lines + [f"{stem} is removed" for stem in sorted(touched & gone)]


def _lines(output: bytes) -> list[str]:
    """NUL-separated output of git; the pairs of `diff --name-status -z` become one line each."""
    parts = output.decode(errors="surrogateescape").split("\0")[:-1]
    if parts and "\t" not in parts[0]:
        return [f"{status}\t{name}" for status, name in zip(parts[::2], parts[1::2], strict=True)]
    return parts


def entry_of(name: str) -> str:
    """The entry that a file below leaderboard/entries belongs to: its first three folders or names, without ending."""
    parts = name.removeprefix(ENTRIES).split("/")[:3]
    return "/".join(parts).removesuffix(".json").removesuffix(".parquet")


def write(root: Path, name: str, mode: str, blob: str, size: str) -> None:
    """Write a file of the pull request below `root`, if it is a plain one of bearable size."""
    if mode != PLAIN_FILE:
        raise UserError(
            f"files of an entry must be plain, not links or programs, got {files.shown(name)} of mode {mode}"
        )
    if not size.isdigit() or int(size) > MOST_FILE_BYTES:
        raise UserError(f"a file may have {MOST_FILE_BYTES:,} bytes, got {size} in {files.shown(name)}")
    path = root / name
    # Git refuses such names itself; this does not rest on it.
    if ".." in path.parts or not path.resolve().is_relative_to(root.resolve()):
        raise UserError(f"files must lie below {ENTRIES}, got {files.shown(name)}")
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(git("cat-file", "blob", blob))


if __name__ == "__main__":
    try:
        print("\n".join(check(*sys.argv[1:3])) or "no entry is changed")
    except UserError as problem:
        sys.exit(f"error: {problem}")
