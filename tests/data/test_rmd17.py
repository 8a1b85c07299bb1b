"""The official archive, as a small one of the same layout on a web server of this machine."""

from __future__ import annotations

import io
import tarfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from chemscale_bench.data import rmd17
from chemscale_bench.data.download import file_sha256
from chemscale_bench.data.frame_units import ENERGY_UNITS
from chemscale_bench.data.frames import FrameSplit, prepare_frames
from chemscale_bench.errors import UserError

KEYS = ("nuclear_charges", "coords", "energies", "forces", "old_energies", "old_forces")
Serve = Callable[..., Path]


def saved(arrays: dict[str, np.ndarray]) -> bytes:
    buffer = io.BytesIO()
    np.savez(buffer, **arrays)
    return buffer.getvalue()


def listed(indices: np.ndarray) -> bytes:
    return "".join(f"{index}\n" for index in indices).encode()


def made_up() -> dict[str, np.ndarray]:
    """2,500 structures of a diatomic molecule."""
    rng = np.random.default_rng(0)
    shape = (2500, 2, 3)
    arrays = [rng.normal(size=shape), rng.normal(-9e4, 9, 2500), rng.normal(size=shape)]
    arrays += [rng.normal(-9e4, 9, 2500), rng.normal(size=shape)]
    return dict(zip(KEYS, [np.array([8, 1], np.uint8), *arrays], strict=True))


@pytest.fixture
def serve(server: tuple[str, Path], monkeypatch: pytest.MonkeyPatch) -> Serve:
    """Packs members into an archive and makes it the one that is downloaded."""
    url, folder = server

    def pack(members: dict[str, bytes]) -> Path:
        with tarfile.open(folder / rmd17.FILE_NAME, "w:bz2") as archive:
            link = tarfile.TarInfo("rmd17/npz_data/rmd17_uracil.npz")
            link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
            archive.addfile(link)
            for name, content in members.items():
                info = tarfile.TarInfo(name)
                info.size = len(content)
                archive.addfile(info, io.BytesIO(content))
        monkeypatch.setattr(rmd17, "URLS", (f"{url}/{rmd17.FILE_NAME}",))
        monkeypatch.setattr(rmd17, "SHA256", file_sha256(folder / rmd17.FILE_NAME))
        return folder / rmd17.FILE_NAME

    return pack


@pytest.fixture
def ethanol(serve: Serve, monkeypatch: pytest.MonkeyPatch) -> np.ndarray:
    """An archive of made-up frames under the name of ethanol, whose split 4 is not pinned; gives the order of it."""
    known = {digest: split for digest, split in rmd17._pinned().items() if split.split != 4}
    monkeypatch.setattr(rmd17, "_pinned", lambda: known)
    order = np.random.default_rng(1).permutation(2500)
    serve(
        {
            "../../outside": b"no",
            "rmd17/readme.txt": b"",
            "rmd17/npz_data/rmd17_ethanol.npz": saved(made_up()),
            "rmd17/splits/index_train_04.csv": listed(order[:1000]),
            "rmd17/splits/index_test_04.csv": listed(order[1000:2000]),
        }
    )
    return order


def prepare(data: str = "rmd17", molecule: str = "ethanol", split: int = 4, train_size: int = 950) -> FrameSplit:
    return prepare_frames(
        data, molecule=molecule, split=split, train_size=train_size, validation_frames=50, test_frames=1000, cutoff=99
    )


@pytest.mark.parametrize(("data", "prefix"), [("rmd17", ""), ("md17", "old_")])
def test_named_sets_are_the_official_frames_in_ev(data: str, prefix: str, ethanol: np.ndarray, cache: Path) -> None:
    split, arrays = prepare(data), made_up()
    train, test = np.sort(ethanol[:1000]), np.sort(ethanol[1000:2000])
    assert np.array_equal(split.train.positions, arrays["coords"][train[:950]])
    assert np.array_equal(split.validation.positions, arrays["coords"][train[950:]])
    assert np.array_equal(split.test.forces, arrays[f"{prefix}forces"][test] * ENERGY_UNITS["kcal/mol"])
    assert np.array_equal(split.test.energies, arrays[f"{prefix}energies"][test] * ENERGY_UNITS["kcal/mol"])
    assert (split.name, split.source, split.source_sha256) == (data, rmd17.URLS[0], rmd17.SHA256)
    assert np.array_equal(prepare(data, train_size=100).train.energies, split.train.energies[:100])
    extracted = sorted(path.name for path in (cache / "frames" / "rmd17").iterdir())
    assert extracted == ["index_test_04.csv", "index_train_04.csv", "rmd17_ethanol.npz"]


def test_both_label_sets_are_different_data(ethanol: np.ndarray) -> None:
    assert prepare("rmd17").digest != prepare("md17").digest


def test_what_was_extracted_needs_no_archive(ethanol: np.ndarray, cache: Path) -> None:
    digest = prepare().digest
    (cache / "downloads" / rmd17.FILE_NAME).unlink()
    assert prepare().digest == digest


def test_more_frames_of_the_trajectory_are_refused_with_the_reason(ethanol: np.ndarray) -> None:
    with pytest.raises(UserError, match=r"at most 950 in rmd17 \(1000 frames less 50.*got 951; .*correlated in time"):
        prepare(train_size=951)


def test_a_damaged_file_in_the_cache_is_refused(ethanol: np.ndarray, cache: Path) -> None:
    prepare()
    file = cache / "frames" / "rmd17" / "rmd17_ethanol.npz"
    file.write_bytes(file.read_bytes()[:1000])
    with pytest.raises(UserError, match=r"damaged .*delete it"):
        prepare()


def test_frames_that_are_not_the_pinned_ones_are_refused(serve: Serve) -> None:
    rows = np.arange(2500)
    serve(
        {
            "rmd17/npz_data/rmd17_ethanol.npz": saved(made_up()),
            "rmd17/splits/index_train_01.csv": listed(rows[:1000]),
            "rmd17/splits/index_test_01.csv": listed(rows[1000:2000]),
        }
    )
    with pytest.raises(UserError, match=r"rmd17 ethanol split 1 must have the digest .*delete the folder"):
        prepare(split=1)


def test_a_link_in_the_archive_is_not_followed(ethanol: np.ndarray, cache: Path) -> None:
    with pytest.raises(UserError, match=r"must hold .*rmd17_uracil\.npz, it does not"):
        prepare(molecule="uracil")
    assert not (cache / "frames" / "rmd17" / "rmd17_uracil.npz").exists()


def test_no_network_tells_the_offline_way(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rmd17, "URLS", ("http://127.0.0.1:1/rmd17.tar.bz2",))
    with pytest.raises(
        UserError, match=r"no connection.*put it at .*rmd17\.tar\.bz2, or use task=embedded-ff"
    ) as caught:
        prepare()
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(("data", "prefix"), [("rmd17", ""), ("md17", "old_")])
def test_the_users_copy_equals_the_named_set(
    data: str, prefix: str, serve: Serve, shared_data: Path, tmp_path: Path
) -> None:
    """An archive built from the real frames of split 1 passes the pinned digest, and so do the two files alone."""
    files = [shared_data / "rmd17" / f"rmd17_ethanol_{part}_01.npz" for part in ("train", "test")]
    arrays = [dict(np.load(file)) for file in files]
    # In an archive the two parts are mixed; each keeps its order.
    rows = np.random.default_rng(0).permutation(2000)
    train, test = np.sort(rows[:1000]), np.sort(rows[1000:])
    whole = {"nuclear_charges": arrays[0]["nuclear_charges"]}
    for key in KEYS[1:]:
        whole[key] = np.empty((2000, *arrays[0][key].shape[1:]))
        whole[key][train], whole[key][test] = arrays[0][key], arrays[1][key]
    serve(
        {
            "rmd17/npz_data/rmd17_ethanol.npz": saved(whole),
            "rmd17/splits/index_train_01.csv": listed(rows[:1000]),
            "rmd17/splits/index_test_01.csv": listed(rows[1000:]),
        }
    )
    named = prepare(data, split=1)
    for name, part in zip(("train", "test"), arrays, strict=True):
        keys = dict(
            zip(
                ("z", "R", "E", "F"), ("nuclear_charges", "coords", prefix + "energies", prefix + "forces"), strict=True
            )
        )
        np.savez(tmp_path / f"{name}.npz", **{key: part[source] for key, source in keys.items()})
    given = {"test_data": str(tmp_path / "test.npz"), "molecule": "ethanol", "split": 1, "train_size": 950}
    given |= {"validation_frames": 50, "test_frames": 1000}
    own = prepare_frames(str(tmp_path / "train.npz"), **given)  # type: ignore[arg-type]
    stated = prepare_frames(
        str(tmp_path / "train.npz"), energy_unit="kcal/mol", length_unit="Angstrom", **given  # type: ignore[arg-type]
    )  # fmt: skip
    assert own[3:] == stated[3:]
    with pytest.raises(UserError, match="energy_unit and length_unit must be stated"):
        prepare_frames(str(tmp_path / "train.npz"), **given | {"test_frames": 999})  # type: ignore[arg-type]
    assert named.digest == own.digest
    assert [part.digest for part in named[:3]] == [part.digest for part in own[:3]]
    assert own.notes == (f"these are the official frames of {data} ethanol split 1",)
